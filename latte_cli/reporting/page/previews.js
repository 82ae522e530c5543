"use strict";
// The preview clips: a slider over training steps, pictures while it moves and clips when it rests.
const Previews = (() => {
  const REST_MS = 180, WALK_MS = 700;
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const grouped = number => number.toLocaleString("en").replace(/,/g, "\u202f");

  function stageOf(run, parent, several) {
    const figure = document.createElement("figure");
    figure.className = "card";
    figure.innerHTML = `<div class="stage"><img alt=""><video muted loop playsinline controls></video></div><figcaption><small></small></figcaption>`;
    const stage = figure.querySelector(".stage"), video = figure.querySelector("video");
    parent.append(figure);
    const pictures = run.previews.map(preview => {
      const picture = new Image();
      if (preview.poster) picture.src = preview.poster;
      return picture;
    });
    return {
      run, stage, video, image: figure.querySelector("img"), caption: figure.querySelector("small"),
      pictures, shown: -1, several,
    };
  }

  // The newest preview at a step or before it; the first one before that.
  function indexAt(run, step) {
    let found = 0;
    run.previews.forEach((preview, index) => { if (preview.step <= step) found = index; });
    return found;
  }

  function showPicture(stage, index) {
    if (stage.shown === index) return;
    stage.shown = index;
    const preview = stage.run.previews[index];
    stage.stage.classList.remove("playing");
    stage.video.pause();
    if (preview.poster) stage.image.src = preview.poster; else stage.image.removeAttribute("src");
    stage.image.alt = `Preview clips of ${stage.run.name} at step ${preview.step}, first frame`;
    const words = `step ${grouped(preview.step)}`;
    stage.caption.textContent = stage.several ? `${stage.run.name}, ${words}` : words;
  }

  function playClip(stage) {
    const preview = stage.run.previews[stage.shown], video = stage.video;
    if (video.dataset.step === String(preview.step)) {
      stage.stage.classList.add("playing");
    } else {
      video.dataset.step = preview.step;
      video.setAttribute("aria-label", `Preview clips of ${stage.run.name} at step ${preview.step}`);
      video.onloadeddata = () => stage.stage.classList.add("playing");
      video.onerror = () => {
        stage.stage.classList.remove("playing");
        stage.caption.textContent += preview.linked
          ? ": this clip is a file in the run's folder, which is not beside this page any more"
          : ": this clip cannot be played";
      };
      video.src = preview.src;
    }
    if (!still.matches) video.play().catch(() => {});
  }

  function start(runs, slider, output, walk, parent) {
    const shown = runs.filter(run => run.previews.length);
    const stages = shown.map(run => stageOf(run, parent, runs.length > 1));
    const steps = [...new Set(shown.flatMap(run => run.previews.map(p => p.step)))].sort((a, b) => a - b);
    slider.max = steps.length - 1;
    let timer = 0, walking = 0;
    const show = () => {
      const step = steps[slider.value];
      output.textContent = `step ${grouped(step)}`;
      slider.setAttribute("aria-valuetext", output.textContent);
      for (const stage of stages) showPicture(stage, indexAt(stage.run, step));
      clearTimeout(timer);
      timer = setTimeout(() => stages.forEach(playClip), REST_MS);
    };
    slider.addEventListener("input", show);
    walk.addEventListener("click", () => {
      if (walking) { clearInterval(walking); walking = 0; }
      else walking = setInterval(() => { slider.value = (+slider.value + 1) % steps.length; show(); }, WALK_MS);
      walk.setAttribute("aria-pressed", !!walking);
    });
    slider.value = steps.length - 1;
    show();
    return stages;
  }

  return { start };
})();

"use strict";
// A gallery of clips: pages of them, loaded when they come into view.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = id => document.getElementById(id), [first, second] = data.folders;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const FRAME_MS = 150;
  const state = { page: 0, found: [], play: !still };
  let cycling = 0, cycles = [];

  // With a second folder an entry is a pair of clips of one key, else it is a clip alone.
  const partners = new Map((second ? second.clips : []).map(clip => [clip.k, clip]));
  const keys = new Set(first.clips.map(clip => clip.k));
  const entries = first.clips.map(clip => ({ a: clip, b: partners.get(clip.k) }));
  if (second) for (const clip of second.clips) if (!keys.has(clip.k)) entries.push({ a: null, b: clip });
  for (const entry of entries) {
    const clip = entry.a || entry.b;
    entry.clip = clip;
    entry.set = second ? (entry.a && entry.b ? "pairs" : entry.a ? "only in A" : "only in B") : clip.r ? "rejected files" : "clips";
    entry.text = [clip.n, clip.l, clip.p, clip.r, clip.v, entry.b && entry.b.v, clip.s == null ? "" : `seed ${clip.s}`]
      .filter(Boolean).join("\n").toLowerCase();
  }

  function options(id, values, all) {
    const counts = new Map();
    for (const value of values) if (value) counts.set(value, (counts.get(value) || 0) + 1);
    const order = [...counts.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    by(`by-${id}`).hidden = order.length < (all ? 1 : 2);
    const select = by(id);
    if (all) select.add(new Option(all, ""));
    for (const value of order) select.add(new Option(`${value} (${counts.get(value)})`, value));
  }
  options("set", entries.map(entry => entry.set));
  options("label", entries.map(entry => entry.clip.l), "all");
  options("split", entries.map(entry => entry.clip.t), "all");
  options("verdict", entries.map(entry => entry.clip.v), "all");
  by("by-view").hidden = !second;
  by("set").value = second ? "pairs" : "clips";
  if (!by("set").value) by("set").selectedIndex = 0;
  by("play").checked = state.play;

  const grouped = value => value.toLocaleString("en").replace(/,/g, "\u202f");

  function say(place, words) {
    const shown = document.createElement("span");
    shown.className = "words";
    shown.textContent = words;
    place.append(shown);
    if (place.tagName === "BUTTON") place.setAttribute("aria-label", place.textContent);
  }

  // The picture of a clip; its file is loaded once it is in view.
  function fill(place, clip, layer) {
    if (!clip) return say(place, "no clip of this seed");
    if (clip.m === "gone") return say(place, "this file is not there any more");
    if (clip.m === "none") return say(place, "no picture: browsers cannot show this file");
    const element = document.createElement(clip.m === "video" ? "video" : "img");
    if (layer) element.className = layer;
    if (clip.m === "video") {
      Object.assign(element, { muted: true, loop: true, playsInline: true, preload: "metadata" });
      element.setAttribute("aria-label", clip.n);
    } else element.alt = clip.n;
    element.onerror = () => { element.remove(); say(place, "this file is not there any more, or cannot be played"); };
    element.load_ = () => {
      if (clip.m === "frames") {
        element.src = clip.u[0];
        cycles.push({ element, urls: clip.u });
      } else element.src = clip.m === "video" && !clip.u.startsWith("data:") ? `${clip.u}#t=0.001` : clip.u;
    };
    place.append(element);
  }

  const inView = new IntersectionObserver(changes => {
    for (const { target, isIntersecting } of changes) for (const element of target.querySelectorAll("video, img")) {
      if (isIntersecting && !element.getAttribute("src") && element.load_) element.load_();
      if (element.tagName !== "VIDEO") continue;
      if (isIntersecting && state.play) element.play().catch(() => {}); else element.pause();
    }
  }, { rootMargin: "150px" });

  function button(clip, letter, entry) {
    const shows = clip && clip.m !== "gone" && clip.m !== "none";
    const place = document.createElement(shows ? "button" : "div");
    place.className = "media";
    if (shows) {
      place.type = "button";
      place.setAttribute("aria-label", `Enlarge ${clip.n}${letter ? `, ${letter}` : ""}`);
      place.addEventListener("click", () => enlarge(entry));
    }
    if (letter) {
      const shown = document.createElement("span");
      shown.className = "letter";
      shown.textContent = letter;
      place.append(shown);
    }
    return place;
  }

  function wordsOf(entry) {
    const clip = entry.clip, other = second && entry.b && entry.a ? entry.b : null;
    return [
      ["label", clip.l], ["prompt", clip.p], ["seed", clip.s], ["split", clip.t], ["file", clip.n],
      ["length and size", clip.f], [other ? "verdict A" : "verdict", clip.v],
      ["verdict B", other && other.v], ["rejected", clip.r],
    ].filter(([, value]) => value != null && value !== "");
  }

  function media(entry, parent) {
    if (!second) {
      const place = button(entry.clip, "", entry);
      fill(place, entry.clip);
      parent.append(place);
    } else if (by("view").value === "wipe" && entry.a && entry.b) {
      const place = button(entry.a, "", entry);
      place.classList.add("wiped");
      fill(place, entry.b);
      fill(place, entry.a, "over");
      const edge = document.createElement("span");
      edge.className = "edge";
      place.append(edge);
      parent.append(place);
      together(place.querySelectorAll("video"));
    } else {
      const two = document.createElement("div");
      two.className = "two";
      for (const [letter, clip] of [["A", entry.a], ["B", entry.b]]) {
        const place = button(clip, letter, entry);
        fill(place, clip);
        two.append(place);
      }
      parent.append(two);
      together(two.querySelectorAll("video"));
    }
  }

  // Two clips of a pair play the same moment.
  function together(videos) {
    if (videos.length !== 2) return;
    const [lead, follow] = videos;
    lead.addEventListener("timeupdate", () => {
      if (Math.abs(lead.currentTime - follow.currentTime) > 0.08) follow.currentTime = lead.currentTime;
    });
  }

  function card(entry) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    media(entry, figure);
    const clip = entry.clip, title = clip.l || clip.p || clip.n;
    const lines = [title, clip.p !== title && clip.p, clip.s != null && `seed ${clip.s}`, clip.f, clip.t,
      entry.a && entry.b ? [clip.v && `A: ${clip.v}`, entry.b.v && `B: ${entry.b.v}`].filter(Boolean).join(", ") : clip.v,
      title !== clip.n && (clip.s == null || clip.r) && clip.n, clip.r && `rejected: ${clip.r}`];
    for (const line of lines.filter(Boolean)) {
      const shown = document.createElement("div");
      shown.textContent = line;
      if (line === lines[7]) shown.className = "rejected";
      caption.append(shown);
    }
    figure.append(caption);
    return figure;
  }

  function search() {
    const words = by("find").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const [set, label, split, verdict] = ["set", "label", "split", "verdict"].map(id => by(id).value);
    state.found = entries.filter(({ clip, set: own, text }) => own === set && (!label || clip.l === label)
      && (!split || clip.t === split) && (!verdict || clip.v === verdict) && words.every(word => text.includes(word)));
    state.page = 0;
    show();
  }

  function show() {
    const size = +by("size").value, pages = Math.max(1, Math.ceil(state.found.length / size));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const start = state.page * size, shown = state.found.slice(start, start + size);
    inView.disconnect();
    cycles = [];
    const place = by("clips");
    place.className = second ? "pairs" : "";
    by("wipe-row").hidden = !second || by("view").value !== "wipe";
    place.replaceChildren(...shown.map(card));
    for (const figure of place.children) inView.observe(figure);
    by("where").textContent = state.found.length
      ? [start + 1, "to", start + shown.length, "of", state.found.length].map(grouped).join(" ")
      : "nothing found";
    by("previous").disabled = state.page === 0;
    by("next").disabled = state.page === pages - 1;
  }

  function turn(by_) { state.page += by_; show(); scrollTo({ top: 0 }); }

  function enlarge(entry) {
    const place = by("large-clip"), words = by("large-words");
    place.replaceChildren();
    media(entry, place);
    for (const each of place.querySelectorAll("button")) { each.disabled = true; }
    for (const element of place.querySelectorAll("video, img")) {
      element.load_();
      if (element.tagName === "VIDEO") { element.controls = true; if (state.play) element.play().catch(() => {}); }
    }
    words.replaceChildren(...wordsOf(entry).map(([name, value]) => {
      const group = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      group.append(dt, dd);
      return group;
    }));
    by("large").showModal();
  }

  for (const id of ["set", "label", "split", "verdict"]) by(id).addEventListener("change", search);
  by("find").addEventListener("input", search);
  for (const id of ["size", "view"]) by(id).addEventListener("change", show);
  by("previous").addEventListener("click", () => turn(-1));
  by("next").addEventListener("click", () => turn(1));
  by("close").addEventListener("click", () => by("large").close());
  by("large").addEventListener("close", () => by("large-clip").replaceChildren());
  by("wipe").addEventListener("input", event => document.documentElement.style.setProperty("--wipe", `${event.target.value}%`));
  by("play").addEventListener("change", event => {
    state.play = event.target.checked;
    for (const video of document.querySelectorAll("#clips video")) if (state.play && video.src) video.play().catch(() => {}); else video.pause();
  });
  addEventListener("keydown", event => {
    if (event.target.matches("input, select, button, video") || by("large").open) return;
    if (event.key === "ArrowRight" && !by("next").disabled) turn(1);
    if (event.key === "ArrowLeft" && !by("previous").disabled) turn(-1);
  });
  cycling = setInterval(() => {
    if (!state.play) return;
    for (const each of cycles) { each.at = ((each.at || 0) + 1) % each.urls.length; each.element.src = each.urls[each.at]; }
  }, FRAME_MS);
  search();
})();

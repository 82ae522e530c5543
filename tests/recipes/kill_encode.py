"""Stop `latte encode-latents` at random moments; little is lost, and its latents are right.

    python tests/recipes/kill_encode.py [--kills 50] [--count 48] [--seed 0]

Small videos are generated and encoded, once undisturbed, then again and again with a SIGKILL,
SIGTERM or SIGINT at a random moment; the same command starts a stopped run again. Whenever a run
finishes, the latents of every video are compared with those of the undisturbed run and deleted,
until there were enough signals. A finished shard must never be written again. The frames that went
through the autoencoder are counted: after SIGTERM and SIGINT only those of the videos in work may
be lost, after SIGKILL also those since the last shard was closed, which happens every 0.2 s here.

Each run is a fork of this process, which has imported everything (not at the top of this file,
since the processes that decode import it, too).
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from forks import start

FRAMES = 32  # of a video
VIDEOS_A_SHARD = 16
BYTES_A_VIDEO = FRAMES * 2 * 2 * 4 * 4 * 4  # parts, float16, channels, side, side
WORKERS = 2
# Each process works on one video, and as many batches wait: the last ones of other videos.
FRAMES_IN_WORK = 2 * WORKERS * FRAMES
CLOSE_AFTER_S = 0.2
EXITS = {signal.SIGTERM: 75, signal.SIGINT: 130}


def written_at(folder: Path) -> dict[str, int]:
    """The modification time of each shard."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import latte_cli.commands.prepare  # noqa: F401
    from latte_cli.commands import encode_latents
    from latte_cli.data.latents import encoding
    from latte_cli.data.latents import plan as latent_plan
    from latte_cli.vae import LatentCodec
    from latte_cli.vae.autoencoders import load_autoencoder

    load_autoencoder("embedded")  # diffusers imports its parts late, too
    latent_plan.SHARD_BYTES = VIDEOS_A_SHARD * BYTES_A_VIDEO
    encoding.CLOSE_AFTER_S = CLOSE_AFTER_S
    assert encode_latents
    with tempfile.TemporaryDirectory() as folder:
        log, encode = Path(folder) / "encoded", LatentCodec.encode

        def logged(codec: LatentCodec, frames):
            """Encode, and append the time and the number of frames to a file."""
            moments = encode(codec, frames)
            with log.open("a") as file:
                file.write(f"{time.time()} {frames.shape[1]}\n")
            return moments

        LatentCodec.encode = logged
        stop_again_and_again(Path(folder), log, options)


def frames_encoded(log: Path, since: float = 0.0) -> int:
    """The frames that went through the autoencoder since a time, also if that was in vain."""
    lines = log.read_text().splitlines() if log.is_file() else []
    return sum(int(frames) for at, frames in map(str.split, lines) if float(at) >= since)


def frames_stored(folder: Path) -> int:
    """The frames that the shards of a folder hold."""
    from safetensors import safe_open

    count = 0
    for path in folder.glob("shard-*"):
        with safe_open(path, "pt") as shard:
            count += sum(video["frames"] for video in json.loads(shard.metadata()["videos"]))
    return count


def latents_of(folder: Path) -> dict[str, list[bytes]]:
    """The numbers of each video, wherever they are stored."""
    from latte_cli.data.latents.reading import LatentSet

    latents = LatentSet.open(folder)
    moments = {v.path: latents.moments(v, 0, v.frames) for v in latents.videos}
    return {
        path: [part.numpy().tobytes() for part in (each.mean, each.std)]
        for path, each in moments.items()
    }


def stop_again_and_again(folder: Path, log: Path, options: argparse.Namespace) -> None:
    def encode(out: str) -> int:
        return start("-q", "encode-latents", *words, f"--out={folder / out}")

    chance = random.Random(options.seed)
    words = ["--preset=shapes", f"--data={folder / 'data'}", "--size=32", f"--workers={WORKERS}"]
    data = (f"--count={options.count}", "--size=32", f"--out={folder / 'data'}")
    assert os.waitpid(start("-q", "prepare", "shapes", *data), 0)[1] == 0
    began = time.monotonic()
    assert os.waitpid(encode("calm"), 0)[1] == 0
    calm_s = time.monotonic() - began
    calm, disturbed = latents_of(folder / "calm"), folder / "disturbed"
    sent: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    worst: dict[str, int] = {}
    finished, encoded = 0, frames_encoded(log)
    while True:
        before, stored = written_at(disturbed), frames_stored(disturbed)
        pid = encode("disturbed")
        is_last = sent.total() == options.kills
        number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        if not is_last:
            time.sleep(chance.uniform(0, calm_s))
            sent_at = time.time()
            os.kill(pid, number)
        status = os.waitpid(pid, 0)[1]
        assert before.items() <= written_at(disturbed).items(), "a shard was written again"
        now = frames_encoded(log) - encoded
        twice, encoded = now - (frames_stored(disturbed) - stored), encoded + now
        code = os.waitstatus_to_exitcode(status)
        if not is_last and code in (-number, EXITS.get(number)):
            recent = frames_encoded(log, sent_at - CLOSE_AFTER_S - 0.5)
            bound = FRAMES_IN_WORK + (recent if number == signal.SIGKILL else 0)
            assert twice <= bound, f"{number.name}: {twice} frames are lost"
            sent[number.name] += 1
            lost[number.name] += twice
            worst[number.name] = max(twice, worst.get(number.name, 0))
            continue
        assert code == 0, f"exit code {code}"
        assert latents_of(disturbed) == calm, "latents differ from those of the undisturbed run"
        finished += 1
        shutil.rmtree(disturbed)
        if is_last:
            break
    result = {
        "kills": sent.total(),
        "signals": sent,
        "finished": finished,
        "videos": len(calm),
        "calm_s": round(calm_s, 2),
        "frames_encoded_twice": lost,
        "most_at_once": worst,
    }
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()

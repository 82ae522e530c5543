"""The published weights of the metrics' networks."""

from latte_cli.runtime.weight_files.published import WeightFile, WeightFolders

_GITHUB = "https://github.com"
_KINETICS = f"{_GITHUB}/google-deepmind/kinetics-i3d/raw/0667e889a5904b4dc122e0ded4c332f49f8df42c"
_TATS = f"{_GITHUB}/songweige/TATS/raw/main"
_TGAN2 = f"{_GITHUB}/rezoo/tgan2/releases/download/v1.0"
_FIDELITY = f"{_GITHUB}/toshas/torch-fidelity/releases/download/v0.2.0"
_LPIPS = f"{_GITHUB}/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"

# Kinetics-400 from scratch; `rgb_imagenet` beside it has the same names, and gives other numbers.
I3D_CHECKPOINT = WeightFile(
    (
        "i3d_rgb_scratch.data-00000-of-00001",
        "model.ckpt.data-00000-of-00001",
        "rgb_scratch/model.ckpt.data-00000-of-00001",
        "data/checkpoints/rgb_scratch/model.ckpt.data-00000-of-00001",
    ),
    f"{_KINETICS}/data/checkpoints/rgb_scratch/model.ckpt.data-00000-of-00001",
    size=50_818_176,
    git_blob="fa7df95674dbf3579e7fccd954e51e706b4734c1",
)
# The same numbers, converted for VideoGPT and used by TATS and cd-fvd. Other conversions are
# accepted, too: their numbers are compared with DeepMind's.
I3D_STATE = WeightFile(
    ("i3d_pretrained_400.pt", "i3d_rgb_scratch.pt", "i3d_rgb_scratch.safetensors"),
    f"{_TATS}/tats/fvd/i3d_pretrained_400.pt",
    git_blob="a867b87ac3a9097d200598b1d48a1b890d8ec744",
)
# Contains code that runs when it is loaded.
I3D_TORCHSCRIPT = WeightFile(
    ("i3d_torchscript.pt",),
    "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
    size=51_235_320,
    sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
)
INCEPTION = WeightFile(
    (
        "weights-inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d.pth",
    ),
    f"{_FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
C3D = WeightFile(
    ("conv3d_deepnetA_ucf.npz",), f"{_TGAN2}/conv3d_deepnetA_ucf.npz", about=318_000_000
)
C3D_MEAN = WeightFile(("mean2.npz",), f"{_TGAN2}/mean2.npz", about=4_200_000)
ALEXNET = WeightFile(
    ("alexnet-owt-7be5be79.pth",),
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    size=244_408_911,
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
LPIPS_LINEAR = WeightFile(
    ("lpips_alex.pth", "alex.pth", "v0.1/alex.pth"),
    f"{_LPIPS}/alex.pth",
    size=6_009,
    sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)

NEEDED = {
    "i3d": (I3D_CHECKPOINT,),
    "inception": (INCEPTION,),
    "c3d": (C3D, C3D_MEAN),
    "lpips": (ALEXNET, LPIPS_LINEAR),
}
"""The files that each network needs."""

INSTEAD = {"i3d": (I3D_STATE, I3D_TORCHSCRIPT)}
"""Files each of which replaces all that a network needs; TorchScript only if it is trusted."""


def missing_files(
    network: str, folders: WeightFolders, *, trust_torchscript: bool = False
) -> list[WeightFile]:
    """The files that must be downloaded for a network.

    Args:
        network: i3d, inception, c3d or lpips; others have no published weights.
        folders: where weights are looked for.
        trust_torchscript: whether a TorchScript archive may replace I3D's weights.
    """
    instead = INSTEAD.get(network, ())
    if any(folders.find(f) for f in instead if trust_torchscript or f is not I3D_TORCHSCRIPT):
        return []
    return [file for file in NEEDED.get(network, ()) if folders.find(file) is None]

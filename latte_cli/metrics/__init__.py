"""Feature networks and the arithmetic of the metrics, with no torchvision and no SciPy.

A feature network turns uint8 clips into rows of float32 numbers and does its own resizing::

    network = load_features("i3d", weights_dir, device)  # or inception, c3d
    found = network(clips)  # clips: uint8 (b, f, h, w, 3) RGB
    found.features  # float32 (n, d) on the CPU; n = b, or b * f where network.per_frame
    found.logits  # float32 (n, k) on the CPU, or None where the features are the logits

| name | rows | features | logits |
|---|---|---|---|
| `i3d` | a clip (f >= 9) | (b, 400) Kinetics-400 logits, those of FVD | None |
| `inception` | a frame, clip by clip | (b * f, 2048) pooled | (b * f, 1008) without bias |
| `c3d` | a clip (f = 16) | (b, 4096) `fc7` | (b, 101) UCF101, before the softmax |

A row depends on its clip alone, bit for bit, whatever else is in the batch. For speed, pass at
least as many clips as there are threads. `network.weights` is the origin of the weights: `kind`,
`files`, and `sha256` of the numbers. LPIPS compares clips: `load_lpips(weights_dir, device)` has a
method `distance(a, b)` for two uint8 (b, f, h, w, 3), which returns float32 (b, f).

Distances take (n, d) arrays and compute in float64::

    frechet_distance(features_a, features_b, ddof=0) -> float
    moments = Moments.of(features); moments.update(more); moments.merge(other)
    frechet_from_moments(moments_a, moments_b, ddof=0) -> float
    polynomial_mmd(features_a, features_b) -> float  # unbiased: KVD, KID
    polynomial_mmd_subsets(features_a, features_b, subsets, size, seed) -> Spread(mean, std)
    inception_score(probabilities, splits=10, shuffle_seed=42) -> Spread(mean, std)
    psnr(a, b), ssim(a, b)  # uint8 (…, h, w, 3) -> float64 (…), one number per frame
"""

from latte_cli.metrics.features import Features as Features
from latte_cli.metrics.features import load_features as load_features
from latte_cli.metrics.features import load_lpips as load_lpips
from latte_cli.metrics.frechet import Moments as Moments
from latte_cli.metrics.frechet import frechet_distance as frechet_distance
from latte_cli.metrics.frechet import frechet_from_moments as frechet_from_moments
from latte_cli.metrics.scores import Spread as Spread
from latte_cli.metrics.scores import inception_score as inception_score
from latte_cli.metrics.scores import polynomial_mmd as polynomial_mmd
from latte_cli.metrics.scores import polynomial_mmd_subsets as polynomial_mmd_subsets
from latte_cli.metrics.scores import psnr as psnr
from latte_cli.metrics.scores import ssim as ssim

"""The papers' definitions in plain numpy, as a reader would write them down, and test data.

Nothing here is shared with ncbook: loops over classes, D x D covariances, numpy's pseudo-inverse.
"""

import numpy as np
import torch


def classes_of(h, y, k):
    return [h[y == c] for c in range(k)]


def class_means(h, y, k):
    return np.stack([part.mean(0) for part in classes_of(h, y, k)])


def nc1_papyan(h, y, k, weighting="class"):
    n, d = h.shape
    means = class_means(h, y, k)
    sigma_w, sigma_b = np.zeros((d, d)), np.zeros((d, d))
    centre = h.mean(0) if weighting == "sample" else means.mean(0)
    for c, part in enumerate(classes_of(h, y, k)):
        for row in part:
            sigma_w += np.outer(row - means[c], row - means[c]) / n
        p = len(part) / n if weighting == "sample" else 1 / k
        sigma_b += p * np.outer(means[c] - centre, means[c] - centre)
    return np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-12)) / k


def nc1_wu_mondelli(h, y, k):
    hc = h - h.mean(0)
    m = class_means(hc, y, k)[y]
    return np.trace((hc - m).T @ (hc - m)) / np.trace(hc.T @ hc)


def nc1_min_zhu_vidal(h, y, k):
    means = class_means(h, y, k)
    top = sum(
        np.sum((part - means[c]) ** 2) / len(part) for c, part in enumerate(classes_of(h, y, k))
    )
    return top / np.sum((means - means.mean(0)) ** 2)


def cdnv(h, y, k):
    values = []
    for i, a in enumerate(classes_of(h, y, k)):
        for j, b in enumerate(classes_of(h, y, k)):
            if i != j:
                var = [np.mean(np.sum((x - x.mean(0)) ** 2, 1)) for x in (a, b)]
                values.append(sum(var) / (2 * np.sum((a.mean(0) - b.mean(0)) ** 2)))
    return np.mean(values)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def pair_cosines(rows):
    k = len(rows)
    return np.array([cosine(rows[i], rows[j]) for i in range(k) for j in range(k) if i != j])


def equinorm(rows):
    norms = np.sqrt((rows**2).sum(1))
    return norms.std() / norms.mean()


def equiangularity(rows):
    return pair_cosines(rows).std()


def max_angle(rows):
    return np.mean(np.abs(pair_cosines(rows) + 1 / (len(rows) - 1)))


def nc2_min_zhu_vidal(h, y, k):
    means = class_means(h, y, k)
    gram = np.array([[cosine(a, b) for b in means] for a in means])
    return np.linalg.norm(gram / np.linalg.norm(gram) - np.eye(k) / np.sqrt(k))


def nc3_papyan(h, y, k, w, weighting="class"):
    means = class_means(h, y, k)
    m = (means - (h.mean(0) if weighting == "sample" else means.mean(0))).T
    return np.linalg.norm(w.T / np.linalg.norm(w) - m / np.linalg.norm(m)) ** 2


def nc3_min_zhu_vidal(h, y, k, w, printed=False):
    product = w @ np.linalg.pinv(class_means(h, y, k))
    etf = np.sqrt(k / (k - 1)) * (np.eye(k) - np.ones((k, k)) / k)
    target = etf / np.sqrt(k - 1) if printed else etf / np.linalg.norm(etf)
    return np.linalg.norm(product / np.linalg.norm(product) - target)


def nc4_papyan(h, y, k, w, b, test):
    means = class_means(h, y, k)
    differ = [
        np.argmax(w @ x + b) != np.argmin([np.linalg.norm(x - mean) for mean in means])
        for x in test
    ]
    return np.mean(differ)


def features(seed, counts, d, offset=0.0, spread=0.3):
    """Return shuffled Gaussian classes of the given sizes: (n, D) and (n,), numpy float64."""
    rng = np.random.default_rng(seed)
    k = len(counts)
    y = rng.permutation(np.repeat(np.arange(k), counts))
    h = rng.normal(size=(k, d))[y] + spread * rng.normal(size=(len(y), d)) + offset
    return h, y


def simplex(k, d, seed=0):
    """Return the rows of a simplex frame of norm 1 in a random position: (K, D)."""
    rng = np.random.default_rng(seed)
    rows = np.sqrt(k / (k - 1)) * (np.eye(k) - np.ones((k, k)) / k)
    return rows @ rotation(rng, max(k, d))[:k, :d] if d >= k else _simplex_tight(k, d, rng)


def _simplex_tight(k, d, rng):
    """A simplex of K = D + 1 rows, which does not fit along the axes."""
    assert k == d + 1
    _, _, vh = np.linalg.svd(np.eye(k) - np.ones((k, k)) / k)
    return np.sqrt(k / (k - 1)) * vh[:d].T @ rotation(rng, d)


def rotation(rng, d):
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def tensors(*arrays, dtype=torch.float64):
    return tuple(
        torch.as_tensor(a, dtype=dtype if np.asarray(a).dtype.kind == "f" else None) for a in arrays
    )

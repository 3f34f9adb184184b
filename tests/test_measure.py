"""The command ``measure``: every measure of the features in a file, and what is wrong with one."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ncbook import cli, metrics
from ncbook.metrics.definitions import DEFINITIONS
from ncbook.metrics.directional import directional_collapse

CLASSES, N, D = 3, 31, 5


def arrays(dtype=np.float64):
    rng = np.random.default_rng(1)
    labels = np.arange(N) % CLASSES
    features = rng.normal(size=(CLASSES, D))[labels] + 0.2 * rng.normal(size=(N, D))
    return {
        "features": features.astype(dtype),
        "labels": labels,
        "W": rng.normal(size=(CLASSES, D)),
        "b": rng.normal(size=CLASSES),
    }


@pytest.fixture
def run(tmp_path):
    """Run the command on a file of these arrays."""

    def run(given, *options):
        path = tmp_path / "features.npz"
        np.savez(path, **given)
        return CliRunner().invoke(cli.app, ["measure", str(path), *options])

    return run


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_json_has_every_measure(run, dtype):
    given = arrays(dtype)
    done = run(given | {"index": given["labels"]}, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["samples"], found["dimension"], found["classes"]) == (N, D, CLASSES)
    assert found["ignored"] == ["index"]
    # The same in float64, whatever the file has.
    features, labels, W, b = (
        torch.from_numpy(given[name]) for name in ("features", "labels", "W", "b")
    )
    statistics = metrics.class_statistics(features.double(), labels)
    expected = metrics.measures(statistics, W) | directional_collapse(features.double(), labels)
    expected["nc4.papyan"] = metrics.nc4_papyan(statistics, W, b, features.double())
    assert [row["name"] for row in found["measures"]] == list(DEFINITIONS)
    for row in found["measures"]:
        assert row["value"] == pytest.approx(float(expected[row["name"]]), rel=1e-12)
        assert (row["title"], row["formula"], row["source"]) == DEFINITIONS[row["name"]]


def test_table_has_every_measure(run):
    given = arrays()
    done = run(given)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("features.npz: 31 samples of 3 classes in 5 dimensions\n")
    first = [line.split() for line in done.output.splitlines()]
    assert [line[0] for line in first if line and line[0] in DEFINITIONS] == list(DEFINITIONS)
    value = float(
        metrics.nc1_papyan(
            metrics.class_statistics(*map(torch.from_numpy, (given["features"], given["labels"])))
        )
    )
    assert f"{value:.4g}" in done.output
    plain = " ".join(done.output.split())
    assert "argmax_k (⟨w_k, h_i⟩ + b_k)" in plain and "Galanti, György, Hutter (2022)" in plain


def test_without_a_classifier_what_concerns_it_is_left_out(run):
    given = arrays()
    names = [
        row["name"]
        for row in json.loads(
            run({name: given[name] for name in ("features", "labels")}, "--json").output
        )["measures"]
    ]
    assert set(DEFINITIONS) - set(names) == {
        name for name in DEFINITIONS if "weights" in name or name[:3] in ("nc3", "nc4")
    }
    del given["b"]
    no_bias = json.loads(run(given, "--json").output)["measures"]
    zero = json.loads(run(given | {"b": np.zeros(CLASSES)}, "--json").output)["measures"]
    assert no_bias == zero


def test_what_is_not_finite_is_null(run):
    given = arrays()
    given["features"][:] = 1
    rows = json.loads(run(given, "--json").output)["measures"]
    assert {row["name"]: row["value"] for row in rows}["nc1.papyan"] is None


def without(*names):
    return lambda a: {name: value for name, value in a.items() if name not in names}


def changed(**changes):
    return lambda a: a | {name: change(a[name]) for name, change in changes.items()}


def spoilt(features):
    features[[4, 7], 1] = np.nan, np.inf
    return features


@pytest.mark.parametrize(
    "change, words",
    [
        (without("features"), "has no 'features', but 'labels', 'W', 'b'"),
        (without("labels"), "has no 'labels'"),
        (without("features", "labels", "W", "b"), "has no 'features', but nothing"),
        (without("W"), "There is b but no W"),
        (changed(features=lambda x: x[0]), "features is an array of float64 of shape (5,)"),
        (
            changed(features=lambda x: x[:, :0]),
            "of shape (31, 0), but real numbers of shape (n, D)",
        ),
        (changed(features=lambda x: x + 1j), "features is an array of complex128"),
        (changed(features=lambda x: x.astype(str)), "but real numbers of shape (n, D)"),
        (changed(features=lambda x: x.astype(object)), "cannot be read"),
        (
            changed(features=spoilt),
            "features has 2 entries that are not finite, the first in row 4",
        ),
        (
            changed(labels=lambda y: np.eye(3)[y]),
            "(31,) is expected, as features has 31 rows. Take labels.argmax(1)",
        ),
        (changed(labels=lambda y: y[:, None]), "Take labels.ravel()."),
        (changed(labels=lambda y: y[1:]), "Give one label for each row"),
        (changed(labels=lambda y: y + 0.5), "labels is an array of float64, but integers from 0"),
        (changed(labels=lambda y: y - 1), "int64, some of them negative, but integers from 0"),
        (
            changed(labels=lambda y: np.array(["a", "b", "c"])[y]),
            "numpy.unique(labels, return_inverse=True)[1]",
        ),
        (changed(labels=lambda y: y + 1), "labels go up to 3, but W has rows for the classes 0..2"),
        (changed(labels=lambda y: y * 0), "no sample of class 1, 2, but each of the classes 0..2"),
        (
            lambda a: without("W", "b")(changed(labels=lambda y: y * 10**9)(a)),
            "no sample of class 1, 2, 3,",
        ),
        (lambda a: without("W", "b")(changed(labels=lambda y: y * 0)(a)), "All labels are 0"),
        (changed(W=lambda w: w.T), "W has shape (5, 3), but (K, 5) is expected"),
        (changed(b=lambda b: b[1:]), "b has 2 entries, but W has 3 rows"),
        (changed(b=lambda b: b[None]), "b is an array of float64 of shape (1, 3)"),
    ],
)
def test_errors_are_sentences(run, change, words):
    done = run(change(arrays()))
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert words in said and said.endswith(".") and "Traceback" not in said


def test_files_that_are_none(tmp_path):
    single = tmp_path / "features.npy"
    np.save(single, np.eye(3))
    broken = tmp_path / "broken.npz"
    np.savez(broken, **arrays())
    broken.write_bytes(broken.read_bytes().replace(b"NUMPY", b"NUMPX", 1))
    for path, words in (
        (tmp_path / "nothing.npz", "There is no file"),
        (tmp_path, "There is no file"),
        (single, "is no .npz archive. Write one with numpy.savez('features.npz'"),
        (broken, "cannot be read"),
    ):
        done = CliRunner().invoke(cli.app, ["measure", str(path)])
        assert done.exit_code == 1 and words in " ".join(done.output.split())

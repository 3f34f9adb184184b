"""Which data sets there are: what they are, where they are from, whether they are here."""

from ncbook.data import cifar, idx, mnist_files

KRIZHEVSKY = (
    "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009, "
    "https://www.cs.toronto.edu/~kriz/cifar.html"
)
SOURCES = {
    "digits": {
        "name": "digits",
        "shape": "1797 images of 8 x 8 pixels, 10 classes",
        "source": "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, "
        "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49 (its test part)",
        "licence": "CC BY 4.0",
        "where": "ships with scikit-learn (sklearn.datasets.load_digits)",
    },
    "mnist (sample)": {
        "name": "mnist (sample)",
        "shape": "10000 + 2000 images of 28 x 28 pixels, 10 classes",
        "source": "drawn from the official files of MNIST, every class in its share",
        "licence": "CC BY-SA 3.0",
        "where": "ships with this package (ncbook/data/mnist_sample)",
    },
    "mnist (full)": {
        "name": "mnist (full)",
        "shape": "60000 + 10000 images of 28 x 28 pixels, 10 classes",
        "source": "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten "
        "digits, http://yann.lecun.com/exdb/mnist/",
        "licence": "CC BY-SA 3.0",
        "where": "python -m ncbook data fetch mnist downloads it (11 MB); or NCBOOK_DATA names a "
        "folder that has the official files",
    },
    "features of CIFAR-100": {
        "name": "features of CIFAR-100",
        "shape": "1500 + 300 vectors of 1280, 256 and 512 numbers, 15 classes of 3 superclasses",
        "source": "outputs of EfficientNet-Lite0, trained on ImageNet, and of a ResNet18 and a "
        "VGG-11, trained on CIFAR-10, for images of CIFAR-100",
        "licence": "CC BY 4.0 for the numbers; the weights of the first network are under "
        "Apache 2.0",
        "where": "ships with this package (ncbook/data/pretrained_features)",
    },
    "cifar10": {
        "name": "cifar10",
        "shape": "50000 + 10000 images of 3 x 32 x 32 pixels, 10 classes",
        "source": KRIZHEVSKY,
        "licence": "none is stated, so that no image of it ships with this package",
        "where": "python -m ncbook data fetch cifar10 downloads it (170 MB); or NCBOOK_DATA names "
        "a folder that has cifar-10-binary.tar.gz, or train/<class> and test/<class> with a file "
        "for each image",
    },
    "cifar100": {
        "name": "cifar100",
        "shape": "50000 + 10000 images of 3 x 32 x 32 pixels, 100 classes of 20 superclasses",
        "source": KRIZHEVSKY,
        "licence": "none is stated, so that no image of it ships with this package",
        "where": "python -m ncbook data fetch cifar100 downloads it (169 MB); or NCBOOK_DATA names "
        "a folder that has cifar-100-binary.tar.gz, or train/<class> and test/<class> with a file "
        "for each image",
    },
}


def available() -> list[dict[str, str]]:
    """Return what there is: name, shape, source, licence, where, at hand; one dict a data set."""
    return [{**entry, "at hand": _at_hand(name)} for name, entry in SOURCES.items()]


def _at_hand(name: str) -> str:
    try:
        if name == "mnist (full)":
            if (folder := mnist_files.folder()) is not None:
                mnist_files.full()
        elif name in cifar.ARCHIVES:
            if (folder := cifar.folder(name)) is not None:
                cifar.check(name, folder)
        else:
            return "yes"
    except idx.DataError as error:
        return f"no: {error}"
    return "no" if folder is None else f"yes, in {folder}"

"""The 27 evaluation sets of the paper (CLIP, arXiv 2103.00020, Table 9): what each is, how it is scored, where it is.

Nothing is fetched: `where` says how a user gets a set. Class names and prompts come from files (`names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ACCURACY, MEAN_PER_CLASS, MAP_11_POINT = "accuracy", "mean_per_class", "map_11_point"
ROC_AUC, MEAN_TOP1_TOP5 = "roc_auc", "mean_top1_top5"

VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_NO_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Task:
    """A set of Table 9. Its name is the one that CLIP's file of prompts has."""

    name: str
    title: str
    """As the paper prints it."""
    num_classes: int
    """That there are names for; where Table 9 prints another number, `printed_classes` has it."""
    num_train: int
    """As Table 9 prints it."""
    num_test: int
    """As Table 9 prints it."""
    metric: str
    """A name of the table of metrics."""
    where: str
    """Where a user gets it."""
    aliases: tuple[str, ...] = ()
    """What others call it: folders, and keys in files of class names."""
    kornblith: bool = False
    """Whether it is one of the 12 of Kornblith et al. (2019)."""
    video: bool = False
    """Whether its items are videos, of which the middle frame is used."""
    multi_label: bool = False
    """Whether an item may have several classes."""
    num_folds: int = 1
    """Fits whose scores are averaged: STL-10's 10 folds, UCF101's 3 splits."""
    folders: tuple[tuple[str, str], ...] = ()
    """What the set itself calls a class, and what the released prompts do, where the two are not one word."""
    printed_classes: int | None = None
    """Table 9's number of classes where no other source has it: a misprint, or a class without a name."""
    note: str = ""
    """What does not fit, and who says so."""


_ALL = (
    Task(
        "Food101",
        "Food-101",
        101,
        75_750,
        25_250,
        ACCURACY,
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        ("food101",),
        kornblith=True,
        printed_classes=102,
        note="Table 9 prints 102 classes; the set and its prompts have 101 (75,750 + 25,250 = 101 x 1,000)",
    ),
    Task(
        "CIFAR10",
        "CIFAR-10",
        10,
        50_000,
        10_000,
        ACCURACY,
        "https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
        ("cifar10",),
        kornblith=True,
    ),
    Task(
        "CIFAR100",
        "CIFAR-100",
        100,
        50_000,
        10_000,
        ACCURACY,
        "https://www.cs.toronto.edu/~kriz/cifar.html (binary version; fine labels)",
        ("cifar100",),
        kornblith=True,
    ),
    Task(
        "Birdsnap",
        "Birdsnap",
        500,
        42_283,
        2_149,
        ACCURACY,
        "its authors' list of URLs (Berg et al., CVPR 2014); photos that are gone make the set smaller",
        ("birdsnap",),
        kornblith=True,
    ),
    Task(
        "SUN397",
        "SUN397",
        397,
        19_850,
        19_850,
        ACCURACY,
        "https://vision.princeton.edu/projects/2010/SUN/ (it has ten partitions of 50 + 50 images a class)",
        ("sun397",),
        kornblith=True,
    ),
    Task(
        "StanfordCars",
        "Stanford Cars",
        196,
        8_144,
        8_041,
        ACCURACY,
        "copies on Hugging Face and Kaggle; its authors' page has closed",
        ("cars", "stanford_cars"),
        kornblith=True,
    ),
    Task(
        "FGVCAircraft",
        "FGVC Aircraft",
        100,
        6_667,
        3_333,
        MEAN_PER_CLASS,
        f"{VGG}/fgvc-aircraft/ (variants; train and validation together)",
        ("fgvc_aircraft", "aircraft"),
        kornblith=True,
    ),
    Task(
        "PascalVOC2007",
        "Pascal VOC 2007 Classification",
        20,
        5_011,
        4_952,
        MAP_11_POINT,
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        ("voc2007_multilabel", "voc2007", "pascal_voc_2007"),
        kornblith=True,
        multi_label=True,
        note="A softmax over classes is needed before images are ranked (openai/CLIP issue 153, a user's report)",
    ),
    Task(
        "DescribableTextures",
        "Describable Textures",
        47,
        3_760,
        1_880,
        ACCURACY,
        f"{VGG}/dtd/ (it has ten splits; train and validation together)",
        ("dtd",),
        kornblith=True,
    ),
    Task(
        "OxfordPets",
        "Oxford-IIIT Pets",
        37,
        3_680,
        3_669,
        MEAN_PER_CLASS,
        f"{VGG}/pets/",
        ("pets", "oxford_iiit_pet", "oxford_pets"),
        kornblith=True,
    ),
    Task(
        "Caltech101",
        "Caltech-101",
        102,
        3_060,
        6_085,
        MEAN_PER_CLASS,
        "https://data.caltech.edu/records/mzrjq-6wc02 (30 images a class to train)",
        ("caltech101",),
        kornblith=True,
        folders=(
            ("BACKGROUND_Google", "background"),
            ("Faces", "off-center face"),
            ("Faces_easy", "centered face"),
            ("Leopards", "leopard"),
            ("Motorbikes", "motorbike"),
            ("airplanes", "airplane"),
            ("car_side", "side of a car"),
            ("cougar_body", "body of a cougar cat"),
            ("cougar_face", "face of a cougar cat"),
            ("crocodile_head", "head of a crocodile"),
            ("flamingo_head", "head of a flamingo"),
            ("snoopy", "snoopy (cartoon beagle)"),
            ("yin_yang", "yin and yang symbol"),
        ),
        note="The background is a class, too: 101 + 1",
    ),
    Task(
        "Flowers102",
        "Oxford Flowers 102",
        102,
        2_040,
        6_149,
        MEAN_PER_CLASS,
        f"{VGG}/flowers/102/ (train and validation together)",
        ("flowers", "flowers102", "oxford_flowers102"),
        kornblith=True,
    ),
    Task("MNIST", "MNIST", 10, 60_000, 10_000, ACCURACY, "http://yann.lecun.com/exdb/mnist/ (idx files)", ("mnist",)),
    Task(
        "FacialEmotionRecognition2013",
        "Facial Emotion Recognition 2013",
        7,
        32_140,
        3_574,
        ACCURACY,
        "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        ("fer2013",),
        printed_classes=8,
        note="Table 9 prints 8 classes, the prompts name 7 with synonyms; its sizes are not those of the published "
        "set (28,709 + 3,589 + 3,589)",
    ),
    Task(
        "STL10",
        "STL-10",
        10,
        1_000,
        8_000,
        ACCURACY,
        "https://cs.stanford.edu/~acoates/stl10/ (binary files)",
        ("stl10",),
        num_folds=10,
        note="1,000 is the size of one of ten folds of its 5,000 training images; scores are their mean",
    ),
    Task(
        "EuroSAT",
        "EuroSAT",
        10,
        10_000,
        5_000,
        ACCURACY,
        "https://github.com/phelber/EuroSAT (RGB; it has no split of its own)",
        ("eurosat",),
    ),
    Task(
        "RESISC45",
        "RESISC45",
        45,
        3_150,
        25_200,
        ACCURACY,
        "Cheng et al. (2017); TensorFlow Datasets' page `resisc45` links it",
        ("resisc45", "resisc_45"),
    ),
    Task(
        "GTSRB",
        "GTSRB",
        43,
        26_640,
        12_630,
        ACCURACY,
        "https://benchmark.ini.rub.de/ (training set of the competition, official test set)",
        ("gtsrb",),
        note="The competition's training set with the official test set (an author in openai/CLIP issue 156)",
    ),
    Task(
        "KITTI",
        "KITTI",
        4,
        6_770,
        711,
        ACCURACY,
        "https://www.cvlibs.net/datasets/kitti/ (VTAB's task: distance of the closest vehicle)",
        ("kitti_closest_vehicle_distance", "kitti_distance"),
        note="The order of the prompts is not that of VTAB's labels: with it mended, ViT-L/14 goes from 23.1 to 26.9 "
        "(openai/CLIP issue 300)",
    ),
    Task(
        "Country211",
        "Country211",
        211,
        43_200,
        21_100,
        ACCURACY,
        "https://github.com/openai/CLIP/blob/main/data/country211.md, or built from YFCC100M: "
        "wit evaluate-set country211",
        ("country211",),
        note="Table 9 prints 43,200 to train; 211 x 200 = 42,200, and the archive has 150 + 50 + 100 a country",
    ),
    Task(
        "PatchCamelyon",
        "PatchCamelyon",
        2,
        294_912,
        32_768,
        ACCURACY,
        "https://github.com/basveeling/pcam",
        ("pcam", "patch_camelyon"),
    ),
    Task(
        "UCF101",
        "UCF101",
        101,
        9_537,
        1_794,
        ACCURACY,
        "https://www.crcv.ucf.edu/data/UCF101.php (its lists of three splits, and a frame or frames of each clip)",
        ("ucf101",),
        video=True,
        num_folds=3,
        note="Scores are the mean of its three splits",
    ),
    Task(
        "Kinetics700",
        "Kinetics700",
        700,
        494_801,
        31_669,
        MEAN_TOP1_TOP5,
        "https://github.com/cvdfoundation/kinetics-dataset (middle frame); clips that are gone make it smaller",
        ("kinetics700", "k700"),
        video=True,
    ),
    Task(
        "CLEVRCounts",
        "CLEVR Counts",
        8,
        2_000,
        500,
        ACCURACY,
        "https://cs.stanford.edu/people/jcjohns/clevr/ (number of objects in a scene, 3 to 10)",
        ("clevr_count_all", "clevr_counts"),
        note="The prompts are in the order of their texts: 10 comes first",
    ),
    Task(
        "HatefulMemes",
        "Hateful Memes",
        2,
        8_500,
        500,
        ROC_AUC,
        "https://hatefulmemeschallenge.com/ (after its terms are accepted; a list as metadata.jsonl: file_name, label)",
        ("hateful_memes",),
    ),
    Task(
        "SST2",
        "Rendered SST2",
        2,
        7_792,
        1_821,
        ACCURACY,
        "https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md, or drawn from the sentences of SST-2: "
        "wit evaluate-set rendered-sst2",
        ("renderedsst2", "rendered_sst2"),
        note="7,792 are the sentences to train and to validate: 6,920 + 872",
    ),
    Task(
        "ImageNet",
        "ImageNet",
        1000,
        1_281_167,
        50_000,
        ACCURACY,
        "https://image-net.org/download-images.php (ILSVRC 2012)",
        ("imagenet1k", "imagenet", "ilsvrc2012"),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""By name, in Table 9's order."""

SUITES: dict[str, tuple[str, ...]] = {
    "paper": tuple(TASKS),
    "kornblith": tuple(task.name for task in _ALL if task.kornblith),
}
"""Tasks that are evaluated together: the 27, and the 12 of Kornblith et al. that the paper averages too."""


def fold(text: str) -> str:
    """Return a name without what writers of it differ in: case, blanks, signs."""
    return _NO_WORD.sub("", text).casefold()


_BY_NAME = {fold(name): task for task in _ALL for name in (task.name, task.title, *task.aliases)}


def find_task(name: str) -> Task | None:
    """Return the task of a name, a title or an alias, in any case and with any signs between; None: none has it.

    A `wds_` or `vtab/` in front of it, as some files have it, is passed over.
    """
    return _BY_NAME.get(fold(name)) or _BY_NAME.get(fold(re.sub(r"^(wds_)?(vtab[/_])?", "", name)))

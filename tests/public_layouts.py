"""How public datasets are laid out when they are unpacked, in small: the rows of the table in docs/data.md."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.pictures import draw


@dataclass(frozen=True)
class PublicLayout:
    """`folders` as the documentation shows them; `pictures` and `others`, files relative to the dataset's folder;
    `made` is what comes of it, as `tests.test_layouts` puts it in words.
    """

    name: str
    folders: str
    pictures: tuple[str, ...]
    made: str
    others: dict[str, str] = field(default_factory=dict)
    label_from: str = ""

    @property
    def row(self) -> str:
        """The row of the table in docs/data.md."""
        command = f"`--label-from {self.label_from}`" if self.label_from else ""
        return f"| {self.name} | `{self.folders}` | {command} | {self.made} |"

    def lay_out(self, root: Path) -> Path:
        """Make the files below `root`, each picture another one."""
        for seed, path in enumerate(self.pictures):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(draw(seed, (40, 30)))
        for path, text in self.others.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root


def _each(*folders: str, names: tuple[str, ...] = ("1.jpg", "2.jpg")) -> tuple[str, ...]:
    return tuple(f"{folder}/{at}{name}" for at, folder in enumerate(folders) for name in names)


LAYOUTS = (
    PublicLayout(
        "Oxford 102 Flowers, as Udacity has it", "train/1/, valid/1/, test/1/, cat_to_name.json",
        _each("train/1", "train/2", "valid/1", "valid/2", "test/1", "test/2"),
        "train: 1, 2; valid: 1, 2; test: 1, 2",
    ),
    PublicLayout(
        "Oxford 102 Flowers, the original", "jpg/image_00001.jpg, imagelabels.mat, setid.mat",
        ("jpg/image_00001.jpg", "jpg/image_00002.jpg"),
        "in no split: jpg", {"imagelabels.mat": "MATLAB", "setid.mat": "MATLAB"},
    ),
    PublicLayout(
        "TensorFlow flower_photos", "flower_photos/daisy/, LICENSE.txt",
        _each("flower_photos/daisy", "flower_photos/tulips"),
        "in no split: daisy, tulips; taken: flower_photos/", {"flower_photos/LICENSE.txt": "CC BY"},
    ),
    PublicLayout(
        "Caltech-101", "caltech-101/101_ObjectCategories/accordion/, Annotations/",
        _each("caltech-101/101_ObjectCategories/accordion", "caltech-101/101_ObjectCategories/BACKGROUND_Google"),
        "in no split: BACKGROUND_Google, accordion; taken: caltech-101/101_ObjectCategories/",
        {"caltech-101/Annotations/accordion/annotation_0001.mat": "MATLAB"},
    ),
    PublicLayout(
        "Caltech-256", "256_ObjectCategories/001.ak47/",
        _each("256_ObjectCategories/001.ak47", "256_ObjectCategories/257.clutter"),
        "in no split: 001.ak47, 257.clutter; taken: 256_ObjectCategories/",
    ),
    PublicLayout(
        "CUB-200-2011", "CUB_200_2011/images/001.Black_footed_Albatross/, attributes/, parts/",
        _each("CUB_200_2011/images/001.Black_footed_Albatross", "CUB_200_2011/images/002.Laysan_Albatross"),
        "in no split: 001.Black_footed_Albatross, 002.Laysan_Albatross; taken: CUB_200_2011/images/",
        {"CUB_200_2011/attributes/attributes.txt": "1 x", "CUB_200_2011/parts/parts.txt": "1 y", "a.txt": "z"},
    ),
    PublicLayout(
        "Stanford Dogs", "images/Images/n02085620-Chihuahua/, annotations/Annotation/n02085620-Chihuahua/",
        _each("images/Images/n02085620-Chihuahua", "images/Images/n02085782-Japanese_spaniel"),
        "in no split: n02085620-Chihuahua, n02085782-Japanese_spaniel; taken: images/Images/",
        {"annotations/Annotation/n02085620-Chihuahua/n02085620_10074": "<annotation/>"},
    ),
    PublicLayout(
        "Stanford Cars", "car_data/car_data/train/Acura RL Sedan 2012/, car_data/car_data/test/, names.csv",
        _each(*(f"car_data/car_data/{split}/{car}" for split in ("train", "test") for car in ("Acura RL", "Audi A5"))),
        "train: Acura RL, Audi A5; test: Acura RL, Audi A5; taken: car_data/car_data/", {"names.csv": "Acura RL"},
    ),
    PublicLayout(
        "Food-101", "food-101/images/apple_pie/, food-101/meta/",
        _each("food-101/images/apple_pie", "food-101/images/waffles"),
        "in no split: apple_pie, waffles; taken: food-101/images/", {"food-101/meta/train.txt": "apple_pie/1005649"},
    ),
    PublicLayout(
        "Food-11", "training/Bread/, validation/Bread/, evaluation/Bread/",
        _each(*(f"{split}/{food}" for split in ("training", "validation", "evaluation") for food in ("Bread", "Egg"))),
        "train: Bread, Egg; valid: Bread, Egg; test: Bread, Egg",
    ),
    PublicLayout(
        "ImageNet (ILSVRC)", "ILSVRC/Data/CLS-LOC/train/n01440764/, val/*.JPEG, test/*.JPEG; ILSVRC/Annotations/",
        (
            *_each("ILSVRC/Data/CLS-LOC/train/n01440764", "ILSVRC/Data/CLS-LOC/train/n01443537"),
            "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG", "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_1.JPEG",
        ),
        "train: n01440764, n01443537; valid without labels: 1; test without labels: 1; taken: ILSVRC/Data/CLS-LOC/",
        {"ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": "<annotation/>"},
    ),
    PublicLayout(
        "Imagenette", "imagenette2/train/n01440764/, imagenette2/val/",
        _each(*(f"imagenette2/{split}/{label}" for split in ("train", "val") for label in ("n01440764", "n02102040"))),
        "train: n01440764, n02102040; valid: n01440764, n02102040; taken: imagenette2/",
    ),
    PublicLayout(
        "Tiny ImageNet", "train/n01443537/images/, val/images/, val/val_annotations.txt, test/images/",
        (
            *_each("train/n01443537/images", "train/n01629819/images"), "val/images/val_0.JPEG",
            "test/images/test_0.JPEG",
        ),
        "train: n01443537, n01629819; valid without labels: 1; test without labels: 1",
    ),
    PublicLayout(
        "Tiny ImageNet, its val labelled",
        "train/n01443537/images/, val/images/, val/val_annotations.txt, test/images/",
        (
            *_each("train/n01443537/images", "train/n01629819/images"), "val/images/val_0.JPEG",
            "val/images/val_1.JPEG", "test/images/test_0.JPEG",
        ),
        "train: n01443537, n01629819; valid: n01443537, n01629819; test without labels: 1",
        {"val/val_annotations.txt": "val_0.JPEG\tn01443537\t0\t32\t44\t62\nval_1.JPEG\tn01629819\t52\t55\t57\t59\n"},
        label_from="val/val_annotations.txt",
    ),
    PublicLayout(
        "Intel Image Classification", "seg_train/seg_train/forest/, seg_test/seg_test/forest/, seg_pred/seg_pred/*.jpg",
        (
            *_each(*(f"seg_{split}/seg_{split}/{label}" for split in ("train", "test") for label in ("forest", "sea"))),
            "seg_pred/seg_pred/5.jpg",
        ),
        "train: forest, sea; test: forest, sea; passed over: seg_pred/",
    ),
    PublicLayout(
        "Chest X-Ray (pneumonia)", "chest_xray/train/NORMAL/, chest_xray/val/, chest_xray/test/, __MACOSX/",
        _each(
            *(f"chest_xray/{split}/{label}" for split in ("train", "val", "test") for label in ("NORMAL", "PNEUMONIA"))
        ),
        "train: NORMAL, PNEUMONIA; valid: NORMAL, PNEUMONIA; test: NORMAL, PNEUMONIA; taken: chest_xray/",
        {"__MACOSX/chest_xray/._train": "resource fork"},
    ),
    PublicLayout(
        "Brain Tumor MRI", "Training/glioma/, Testing/glioma/",
        _each(*(f"{split}/{label}" for split in ("Training", "Testing") for label in ("glioma", "pituitary"))),
        "train: glioma, pituitary; test: glioma, pituitary",
    ),
    PublicLayout(
        "Dogs vs. Cats (Kaggle)", "train/cat.0.jpg, train/dog.0.jpg, test1/1.jpg",
        ("train/cat.0.jpg", "train/cat.1.jpg", "train/dog.0.jpg", "train/dog.1.jpg", "test1/1.jpg", "test1/2.jpg"),
        "in no split: cat, dog; test without labels: 2", label_from="name",
    ),
    PublicLayout(
        "Cat and Dog", "training_set/training_set/cats/, test_set/test_set/cats/",
        _each(*(f"{split}_set/{split}_set/{label}" for split in ("training", "test") for label in ("cats", "dogs"))),
        "train: cats, dogs; test: cats, dogs",
    ),
    PublicLayout(
        "Microsoft PetImages", "PetImages/Cat/, PetImages/Dog/, readme.txt", _each("PetImages/Cat", "PetImages/Dog"),
        "in no split: Cat, Dog; taken: PetImages/", {"readme.txt": "Kaggle"},
    ),
    PublicLayout(
        "Oxford-IIIT Pet, its images/", "Abyssinian_1.jpg, great_pyrenees_12.jpg",
        ("Abyssinian_1.jpg", "Abyssinian_2.jpg", "great_pyrenees_12.jpg", "great_pyrenees_7.jpg"),
        "in no split: Abyssinian, great_pyrenees", label_from="name",
    ),
    PublicLayout(
        "EuroSAT", "EuroSAT/2750/AnnualCrop/", _each("EuroSAT/2750/AnnualCrop", "EuroSAT/2750/Forest"),
        "in no split: AnnualCrop, Forest; taken: EuroSAT/2750/",
    ),
    PublicLayout(
        "PlantVillage", "plantvillage dataset/color/Apple___Apple_scab/, grayscale/, segmented/",
        _each(
            *(f"plantvillage dataset/{kind}/{label}" for kind in ("color", "grayscale", "segmented")
              for label in ("Apple___Apple_scab", "Apple___healthy"))
        ),
        "in no split: color, grayscale, segmented; taken: plantvillage dataset/; in doubt",
    ),
    PublicLayout(
        "PlantVillage, one of the three", "Apple___Apple_scab/, Apple___healthy/",
        _each("Apple___Apple_scab", "Apple___healthy"), "in no split: Apple___Apple_scab, Apple___healthy",
    ),
    PublicLayout(
        "GTSRB", "Train/0/, Test/00000.png, Test.csv, Meta/0.png",
        (*_each("Train/0", "Train/1"), "Test/00000.png", "Test/00001.png", "Meta/0.png"),
        "train: 0, 1; test without labels: 2; passed over: Meta/",
        {"Test.csv": "Width,ClassId,Path\n53,1,Test/00000.png\n"},
    ),
    PublicLayout(
        "GTSRB, its test labelled", "Train/0/, Test/00000.png, Test.csv, Meta/0.png",
        (*_each("Train/0", "Train/1"), "Test/00000.png", "Test/00001.png", "Meta/0.png"),
        "train: 0, 1; test: 0, 1",
        {"Test.csv": "Width,ClassId,Path\n53,1,Test/00000.png\n42,0,Test/00001.png\n"}, label_from="Test.csv",
    ),
    PublicLayout(
        "Fashion Product Images", "images/15970.jpg, styles.csv",
        ("images/15970.jpg", "images/39386.jpg", "images/1.jpg"),
        "in no split: Jeans, Shirts",
        {"styles.csv": "id,gender,articleType\n15970,Men,Shirts\n39386,Men,Jeans\n59263,Women,Watches\n"},
        label_from="styles.csv",
    ),
    PublicLayout(
        "HAM10000", "HAM10000_images_part_1/ISIC_0027419.jpg, HAM10000_images_part_2/, HAM10000_metadata.csv",
        ("HAM10000_images_part_1/ISIC_0027419.jpg", "HAM10000_images_part_2/ISIC_0031633.jpg"),
        "in no split: bkl, nv",
        {"HAM10000_metadata.csv": "lesion_id,image_id,dx,age\nHAM_1,ISIC_0027419,bkl,80\nHAM_2,ISIC_0031633,nv,75\n"},
        label_from="HAM10000_metadata.csv:dx",
    ),
    PublicLayout(
        "Dog Breed Identification", "train/000bec18.jpg, labels.csv, test/000621fb.jpg",
        ("train/000bec18.jpg", "train/001513df.jpg", "test/000621fb.jpg"),
        "in no split: boston_bull, dingo; test without labels: 1",
        {"labels.csv": "id,breed\n000bec18,boston_bull\n001513df,dingo\n"}, label_from="labels.csv",
    ),
    PublicLayout(
        "Roboflow, folder export", "train/daisy/, valid/daisy/, test/daisy/, README.roboflow.txt",
        _each(*(f"{split}/{label}" for split in ("train", "valid", "test") for label in ("daisy", "rose"))),
        "train: daisy, rose; valid: daisy, rose; test: daisy, rose", {"README.roboflow.txt": "exported"},
    ),
    PublicLayout(
        "Fruits-360", "fruits-360/Training/Apple Braeburn/, fruits-360/Test/, fruits-360/test-multiple_fruits/*.jpg",
        (
            *_each(*(f"fruits-360/{split}/{label}" for split in ("Training", "Test") for label in ("Apple", "Banana"))),
            "fruits-360/test-multiple_fruits/apple_apricot.jpg",
        ),
        "train: Apple, Banana; test: Apple, Banana; taken: fruits-360/; passed over: test-multiple_fruits/",
    ),
    PublicLayout(
        "MNIST as PNG", "mnist_png/training/0/, mnist_png/testing/0/",
        _each(*(f"mnist_png/{split}/{label}" for split in ("training", "testing") for label in "01")),
        "train: 0, 1; test: 0, 1; taken: mnist_png/",
    ),
    PublicLayout(
        "CIFAR-10, as fast.ai has it", "cifar10/train/airplane/, cifar10/test/airplane/, labels.txt",
        _each(*(f"cifar10/{split}/{label}" for split in ("train", "test") for label in ("airplane", "frog"))),
        "train: airplane, frog; test: airplane, frog; taken: cifar10/", {"cifar10/labels.txt": "airplane"},
    ),
    PublicLayout(
        "CIFAR-10 (Kaggle)", "train/1.png, trainLabels.csv, test/1.png",
        ("train/1.png", "train/2.png", "test/1.png"), "in no split: frog, truck; test without labels: 1",
        {"trainLabels.csv": "id,label\n1,frog\n2,truck\n"}, label_from="trainLabels.csv",
    ),
    PublicLayout(
        "Describable Textures (DTD)", "dtd/images/banded/, dtd/labels/, dtd/imdb/",
        _each("dtd/images/banded", "dtd/images/woven"), "in no split: banded, woven; taken: dtd/images/",
        {"dtd/labels/train1.txt": "banded/banded_0002.jpg", "dtd/imdb/imdb.mat": "MATLAB"},
    ),
    PublicLayout(
        "Places365 (standard)", "places365_standard/train/airfield/, places365_standard/val/, train.txt",
        _each(*(f"places365_standard/{split}/{label}" for split in ("train", "val") for label in ("airfield", "zoo"))),
        "train: airfield, zoo; valid: airfield, zoo; taken: places365_standard/", {"places365_standard/train.txt": "a"},
    ),
    PublicLayout(
        "SUN397", "SUN397/a/abbey/, SUN397/b/bakery/", _each("SUN397/a/abbey", "SUN397/a/airport", "SUN397/b/bakery"),
        "in no split: abbey, airport, bakery", label_from="parent",
    ),
    PublicLayout(
        "iNaturalist 2018", "train_val2018/Aves/2761/, train_val2018/Insecta/1/",
        _each("train_val2018/Aves/2761", "train_val2018/Aves/3", "train_val2018/Insecta/1"),
        "in no split: 1, 3, 2761", label_from="parent",
    ),
    PublicLayout(
        "FGVC-Aircraft", "data/images/0034309.jpg, data/images_variant_train.txt",
        ("data/images/0034309.jpg", "data/images/1025794.jpg"), "in no split: 707-320, Boeing 737-200",
        {"data/images_variant_train.txt": "0034309 Boeing 737-200\n1025794 707-320\n"},
        label_from="data/images_variant_train.txt",
    ),
    PublicLayout(
        "Landmarks, as Udacity has them", "landmark_images/train/00.Haleakala_National_Park/, landmark_images/test/",
        _each(
            *(f"landmark_images/{split}/{place}" for split in ("train", "test")
              for place in ("00.Haleakala", "01.Rainier"))
        ),
        "train: 00.Haleakala, 01.Rainier; test: 00.Haleakala, 01.Rainier; taken: landmark_images/",
    ),
    PublicLayout(
        "Animals-10", "raw-img/cane/, raw-img/gatto/, translate.py", _each("raw-img/cane", "raw-img/gatto"),
        "in no split: cane, gatto; taken: raw-img/", {"translate.py": "{}"},
    ),
    PublicLayout(
        "A class called raw", "raw/, cooked/, burnt/", _each("raw", "cooked", "burnt", "raw/from above"),
        "in no split: burnt, cooked, raw",
    ),
    PublicLayout(
        "horse2zebra and others of CycleGAN", "horse2zebra/trainA/*.jpg, trainB/, testA/, testB/",
        _each(*(f"horse2zebra/{split}{side}" for split in ("train", "test") for side in "AB")),
        "train: A, B; test: A, B; taken: horse2zebra/",
    ),
    PublicLayout(
        "Splits below the classes", "cat/train/*.jpg, cat/test/, dog/train/, dog/test/",
        _each(*(f"{label}/{split}" for label in ("cat", "dog") for split in ("train", "test"))),
        "train: cat, dog; test: cat, dog",
    ),
    PublicLayout(
        "A folder for each class and split", "cat_train/*.jpg, dog_train/, cat_val/, dog_val/",
        _each(*(f"{label}_{split}" for label in ("cat", "dog") for split in ("train", "val"))),
        "train: cat, dog; valid: cat, dog",
    ),
    PublicLayout(
        "Splits that bear the dataset's name", "flowers-train/daisy/, flowers-valid/, flowers-test/",
        _each(*(f"flowers-{split}/{label}" for split in ("train", "valid", "test") for label in ("daisy", "rose"))),
        "train: daisy, rose; valid: daisy, rose; test: daisy, rose",
    ),
    PublicLayout(
        "Splits numbered, dated or copied", "01_train/daisy/, test (1)/daisy/, val-20240101T120000Z-001/daisy/",
        _each(*(f"{split}/{label}" for split in ("01_train", "test (1)", "val-20240101T120000Z-001")
                for label in ("daisy", "rose"))),
        "train: daisy, rose; valid: daisy, rose; test: daisy, rose",
    ),
    PublicLayout(
        "Splits abbreviated", "trn/daisy/, vld/, tst/",
        _each(*(f"{split}/{label}" for split in ("trn", "vld", "tst") for label in ("daisy", "rose"))),
        "train: daisy, rose; valid: daisy, rose; test: daisy, rose",
    ),
    PublicLayout(
        "A test by another name", "train/daisy/, hold-out/daisy/, extra/daisy/",
        _each(*(f"{split}/{label}" for split in ("train", "hold-out", "extra") for label in ("daisy", "rose"))),
        "train: daisy, rose; test: daisy, rose; passed over: extra/",
    ),
)  # fmt: skip

"""The networks of keras.applications: what is known of each without Keras. All were trained on ImageNet-1k."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.data.images.preprocessing import Preprocessing

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/"
OLDER = "https://storage.googleapis.com/keras-applications/"
Range = tuple[str, tuple[float, float, float], tuple[float, float, float]]
"""Order of the channels, mean and standard deviation, of values in 0..1: one mode of `preprocess_input`."""
CAFFE: Range = ("bgr", (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255))
SIGNED: Range = ("rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TORCH: Range = ("rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INSIDE: Range = ("rgb", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
"""Values in 0..255: the network's first layers normalise them themselves."""


@dataclass(frozen=True)
class Application:
    """One row of the table.

    Attributes:
        size: side of the input in pixels, as it was trained.
        range: the channels, mean and standard deviation that its `preprocess_input` stands for.
        file: of the weights, without its ending, under `BASE` or, without a folder, under `OLDER`.
        hashes: of that file with and without the classifier, md5 or sha256 by length; empty where Keras has none.
        least: the smallest side that it takes, in pixels.
        headless: what the name of the file without the classifier ends in.
    """

    size: int
    range: Range
    file: str
    hashes: tuple[str, str] = ("", "")
    least: int = 32
    headless: str = "_notop"

    def preprocessing(self, size: int) -> Preprocessing:
        """Return how it wants its pictures, at a side of `size` pixels.

        Keras states values and channels, and no crop: its `load_img` squashes the whole picture. That is done here
        too, bilinearly (Keras's default, the nearest pixel, drops most of a photo).
        """
        channels, mean, std = self.range
        return Preprocessing(
            size=(size, size),
            resize=None,
            interpolation="bilinear",
            mean=mean,
            std=std,
            channels="bgr" if channels == "bgr" else "rgb",
        )

    def released(self, *, top: bool) -> tuple[str, str, str]:
        """Return address, file name in Keras's cache and hash of the weights, with or without the classifier."""
        name = self.file + ("" if top else self.headless) + ".h5"
        return (BASE if "/" in name else OLDER) + name, name.rpartition("/")[2], self.hashes[0 if top else 1]


APPLICATIONS = {
    "ConvNeXtBase": Application(
        224,
        INSIDE,
        "convnext/convnext_base",
        hashes=(
            "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
            "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
        ),
    ),
    "ConvNeXtLarge": Application(
        224,
        INSIDE,
        "convnext/convnext_large",
        hashes=(
            "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
            "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
        ),
    ),
    "ConvNeXtSmall": Application(
        224,
        INSIDE,
        "convnext/convnext_small",
        hashes=(
            "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
            "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
        ),
    ),
    "ConvNeXtTiny": Application(
        224,
        INSIDE,
        "convnext/convnext_tiny",
        hashes=(
            "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
            "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
    ),
    "ConvNeXtXLarge": Application(
        224,
        INSIDE,
        "convnext/convnext_xlarge",
        hashes=(
            "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
            "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
        ),
    ),
    "DenseNet121": Application(
        224,
        TORCH,
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels",
        hashes=("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    ),
    "DenseNet169": Application(
        224,
        TORCH,
        "densenet/densenet169_weights_tf_dim_ordering_tf_kernels",
        hashes=("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    ),
    "DenseNet201": Application(
        224,
        TORCH,
        "densenet/densenet201_weights_tf_dim_ordering_tf_kernels",
        hashes=("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ),
    "EfficientNetB0": Application(
        224, INSIDE, "efficientnetb0", hashes=("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d")
    ),
    "EfficientNetB1": Application(
        240, INSIDE, "efficientnetb1", hashes=("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432")
    ),
    "EfficientNetB2": Application(
        260, INSIDE, "efficientnetb2", hashes=("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39")
    ),
    "EfficientNetB3": Application(
        300, INSIDE, "efficientnetb3", hashes=("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226")
    ),
    "EfficientNetB4": Application(
        380, INSIDE, "efficientnetb4", hashes=("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba")
    ),
    "EfficientNetB5": Application(
        456, INSIDE, "efficientnetb5", hashes=("ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f")
    ),
    "EfficientNetB6": Application(
        528, INSIDE, "efficientnetb6", hashes=("165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743")
    ),
    "EfficientNetB7": Application(
        600, INSIDE, "efficientnetb7", hashes=("8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a")
    ),
    "EfficientNetV2B0": Application(
        224,
        INSIDE,
        "efficientnet_v2/efficientnetv2-b0",
        hashes=("21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"),
    ),
    "EfficientNetV2B1": Application(
        240,
        INSIDE,
        "efficientnet_v2/efficientnetv2-b1",
        hashes=("069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"),
    ),
    "EfficientNetV2B2": Application(
        260,
        INSIDE,
        "efficientnet_v2/efficientnetv2-b2",
        hashes=("424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"),
    ),
    "EfficientNetV2B3": Application(
        300,
        INSIDE,
        "efficientnet_v2/efficientnetv2-b3",
        hashes=("1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"),
    ),
    "EfficientNetV2L": Application(
        480,
        INSIDE,
        "efficientnet_v2/efficientnetv2-l",
        hashes=("27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"),
    ),
    "EfficientNetV2M": Application(
        480,
        INSIDE,
        "efficientnet_v2/efficientnetv2-m",
        hashes=("a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"),
    ),
    "EfficientNetV2S": Application(
        384,
        INSIDE,
        "efficientnet_v2/efficientnetv2-s",
        hashes=("e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"),
    ),
    "InceptionResNetV2": Application(
        299,
        SIGNED,
        "inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels",
        hashes=("e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"),
        least=75,
    ),
    "InceptionV3": Application(
        299,
        SIGNED,
        "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels",
        hashes=("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
        least=75,
    ),
    "MobileNet": Application(224, SIGNED, "mobilenet/mobilenet_1_0_224_tf", headless="_no_top"),
    "MobileNetV2": Application(
        224, SIGNED, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224", headless="_no_top"
    ),
    "MobileNetV3Large": Application(
        224,
        INSIDE,
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float",
        hashes=("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
        headless="_no_top_v2",
    ),
    "MobileNetV3Small": Application(
        224,
        INSIDE,
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float",
        hashes=("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
        headless="_no_top_v2",
    ),
    "ResNet101": Application(
        224,
        CAFFE,
        "resnet/resnet101_weights_tf_dim_ordering_tf_kernels",
        hashes=("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    ),
    "ResNet101V2": Application(
        224,
        SIGNED,
        "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels",
        hashes=("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    ),
    "ResNet152": Application(
        224,
        CAFFE,
        "resnet/resnet152_weights_tf_dim_ordering_tf_kernels",
        hashes=("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    ),
    "ResNet152V2": Application(
        224,
        SIGNED,
        "resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels",
        hashes=("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
    ),
    "ResNet50": Application(
        224,
        CAFFE,
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels",
        hashes=("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    ),
    "ResNet50V2": Application(
        224,
        SIGNED,
        "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels",
        hashes=("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    ),
    "VGG16": Application(
        224,
        CAFFE,
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels",
        hashes=("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    ),
    "VGG19": Application(
        224,
        CAFFE,
        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels",
        hashes=("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    ),
    "Xception": Application(
        299,
        SIGNED,
        "xception/xception_weights_tf_dim_ordering_tf_kernels",
        hashes=("0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
        least=71,
    ),
}

"""How the arguments of juanji are spelled in other libraries: the table, and the checks that run both spellings on the same numbers.

`page` makes the site's page of it. An entry with a tick has a check in CHECKS, which tests/test_docs.py runs against the library itself;
the others are from its documentation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import juanji as jj

Array = npt.NDArray[Any]
LIBRARIES = {
    "juanji": "juanji",
    "torch": "PyTorch",
    "keras": "TensorFlow, Keras",
    "paddle": "Paddle",
    "onnx": "ONNX",
    "scipy": "SciPy",
    "opencv": "OpenCV",
}


class Topic(NamedTuple):
    """What is meant, in English and Chinese, and how each library says it; one that cannot is left out."""

    title: tuple[str, str]
    entries: dict[str, str]


class Theme(NamedTuple):
    title: tuple[str, str]
    topics: dict[str, Topic]


THEMES = (
    Theme(
        ("The operation", "运算"),
        {
            "correlation": Topic(
                ("correlation: the kernel as it stands", "互相关：核按原样使用"),
                {
                    "juanji": "`jj.conv(x, w)`, `jj.correlate(a, k)`",
                    "torch": "`F.conv2d(x, w)`",
                    "keras": "`tf.nn.conv2d(x, w, 1, 'VALID')`",
                    "paddle": "`F.conv2d(x, w)`",
                    "onnx": "`Conv`",
                    "scipy": "`signal.correlate2d(a, k)`, `ndimage.correlate`",
                    "opencv": "`filter2D(a, -1, k)`",
                },
            ),
            "convolution": Topic(
                ("convolution: the kernel turned by 180°", "卷积：核翻转 180°"),
                {
                    "juanji": "`jj.conv(x, w, flip=True)`, `jj.convolve(a, k)`",
                    "torch": "`F.conv2d(x, w.flip(2, 3))`",
                    "keras": "`tf.nn.conv2d(x, w[::-1, ::-1], 1, 'VALID')`",
                    "paddle": "`F.conv2d(x, w.flip([2, 3]))`",
                    "onnx": "`Conv`, the weights stored turned",
                    "scipy": "`signal.convolve2d(a, k)`, `ndimage.convolve`",
                    "opencv": "`filter2D(a, -1, cv.flip(k, -1))`",
                },
            ),
            "transposed": Topic(
                ("transposed convolution", "转置卷积"),
                {
                    "juanji": "`jj.conv_transpose(x, w, stride=2, padding=1, output_padding=1)`",
                    "torch": "`F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)`",
                    "keras": "`Conv2DTranspose(…, strides=2, padding=…, output_padding=…)`",
                    "paddle": "`F.conv2d_transpose(x, w, stride=2, padding=1, output_padding=1)`",
                    "onnx": "`ConvTranspose`: `strides`, `pads`, `output_padding`",
                },
            ),
        },
    ),
    Theme(
        ("Padding", "填充"),
        {
            "each side": Topic(
                ("top 1, bottom 2, left 0, right 3", "上 1、下 2、左 0、右 3"),
                {
                    "juanji": "`padding=((1, 2), (0, 3))`",
                    "torch": "`F.pad(x, (0, 3, 1, 2))` first: the last axis first",
                    "keras": "`tf.nn.conv2d(…, padding=[[0, 0], [1, 2], [0, 3], [0, 0]])`",
                    "paddle": "`padding=[1, 2, 0, 3]`",
                    "onnx": "`pads=[1, 0, 2, 3]`: all beginnings, then all ends",
                    "scipy": "`np.pad(a, ((1, 2), (0, 3)))` first",
                    "opencv": "`copyMakeBorder(a, 1, 2, 0, 3, …)` first",
                },
            ),
            "per axis": Topic(
                ("1 above and below, 2 left and right", "上下各 1、左右各 2"),
                {
                    "juanji": "`padding=(1, 2)`",
                    "torch": "`padding=(1, 2)`",
                    "keras": "`ZeroPadding2D((1, 2))` first",
                    "paddle": "`padding=[1, 2]`",
                    "onnx": "`pads=[1, 2, 1, 2]`",
                },
            ),
            "valid": Topic(
                ("valid: none", "valid：不填充"),
                {
                    "juanji": '`padding=0`, `"valid"`',
                    "torch": "`padding=0`, `'valid'`",
                    "keras": "`padding='valid'`",
                    "paddle": "`padding='VALID'`",
                    "onnx": "`auto_pad='VALID'`",
                    "scipy": "`mode='valid'`",
                },
            ),
            "same": Topic(
                ("same: ⌈size / stride⌉ outputs, the odd pixel at the end", "same：输出 ⌈尺寸 / 步幅⌉，多出的一个像素补在末端"),
                {
                    "juanji": '`padding="same"`',
                    "torch": "`padding='same'`, with stride 1 only",
                    "keras": "`padding='same'`",
                    "paddle": "`padding='SAME'`",
                    "onnx": "`auto_pad='SAME_UPPER'`",
                },
            ),
            "same lower": Topic(
                ("same, the odd pixel at the beginning", "same，多出的像素补在开头"),
                {
                    "juanji": '`padding="same_lower"`',
                    "onnx": "`auto_pad='SAME_LOWER'`",
                },
            ),
            "centred": Topic(
                ("same for plain arrays: the middle of the full output", "普通数组的 same：取 full 结果的正中"),
                {
                    "juanji": '`jj.convolve(a, k, "same")`',
                    "scipy": "`signal.convolve2d(a, k, 'same')`",
                },
            ),
            "full": Topic(
                ("full: wherever both touch", "full：凡有重叠处"),
                {
                    "juanji": '`padding="full"`',
                    "torch": "`padding=k − 1`",
                    "paddle": "`padding=k − 1`",
                    "onnx": "`pads=[k − 1, …]`",
                    "scipy": "`mode='full'`",
                },
            ),
            "causal": Topic(
                ("causal: only before", "causal：只在前端填充"),
                {
                    "juanji": '`padding="causal"`',
                    "torch": "`F.pad(x, (k − 1, 0))` first",
                    "keras": "`Conv1D(…, padding='causal')`",
                },
            ),
        },
    ),
    Theme(
        ("What lies outside", "边界之外"),
        {
            "zero": Topic(
                ("zeros: 0 0 | a b c d | 0 0", "零：0 0 | a b c d | 0 0"),
                {
                    "juanji": '`boundary="zero"`',
                    "torch": "`padding_mode='zeros'`",
                    "keras": "`tf.pad(…, 'CONSTANT')`",
                    "paddle": "`padding_mode='zeros'`",
                    "onnx": "`Pad` `constant`",
                    "scipy": "`signal`: `boundary='fill'`; `ndimage`: `mode='constant'`",
                    "opencv": "`BORDER_CONSTANT`",
                },
            ),
            "constant": Topic(
                ("a constant: 7 7 | a b c d | 7 7", "常数：7 7 | a b c d | 7 7"),
                {
                    "juanji": '`boundary=("constant", 7)`',
                    "torch": "`F.pad(…, value=7)`",
                    "keras": "`tf.pad(…, constant_values=7)`",
                    "paddle": "`F.pad(…, value=7)`",
                    "onnx": "`Pad` `constant`, `constant_value`",
                    "scipy": "`fillvalue=7`; `ndimage`: `cval=7`",
                    "opencv": "`copyMakeBorder(…, value=7)` first",
                },
            ),
            "edge": Topic(
                ("the edge copied: a a | a b c d | d d", "复制边缘：a a | a b c d | d d"),
                {
                    "juanji": '`"edge"`, `"replicate"`',
                    "torch": "`'replicate'`",
                    "paddle": "`'replicate'`",
                    "onnx": "`Pad` `edge`",
                    "scipy": "`ndimage`: `'nearest'`",
                    "opencv": "`BORDER_REPLICATE`",
                },
            ),
            "reflect": Topic(
                ("mirrored, the edge once: c b | a b c d | c b", "镜像，边缘不重复：c b | a b c d | c b"),
                {
                    "juanji": '`"reflect"`',
                    "torch": "`'reflect'`",
                    "keras": "`tf.pad(…, 'REFLECT')`",
                    "paddle": "`'reflect'`",
                    "onnx": "`Pad` `reflect`",
                    "scipy": "`ndimage`: `'mirror'`",
                    "opencv": "`BORDER_REFLECT_101`, the default",
                },
            ),
            "symmetric": Topic(
                ("mirrored, the edge twice: b a | a b c d | d c", "镜像，边缘重复：b a | a b c d | d c"),
                {
                    "juanji": '`"symmetric"`',
                    "keras": "`tf.pad(…, 'SYMMETRIC')`",
                    "scipy": "`ndimage`: `'reflect'`, the default; `signal`: `boundary='symm'`",
                    "opencv": "`BORDER_REFLECT`",
                },
            ),
            "wrap": Topic(
                ("round: c d | a b c d | a b", "环绕：c d | a b c d | a b"),
                {
                    "juanji": '`"wrap"`, `"circular"`',
                    "torch": "`'circular'`",
                    "paddle": "`'circular'`",
                    "onnx": "`Pad` `wrap`, from opset 19",
                    "scipy": "`boundary='wrap'`; `ndimage`: `'wrap'`",
                    "opencv": "`copyMakeBorder(…, BORDER_WRAP)` first",
                },
            ),
        },
    ),
    Theme(
        ("Layout", "布局"),
        {
            "x": Topic(
                ("the input", "输入"),
                {
                    "juanji": '(N, C, H, W); `layout="channels_last"`: (N, H, W, C)',
                    "torch": "(N, C, H, W)",
                    "keras": "(N, H, W, C)",
                    "paddle": "(N, C, H, W); `data_format='NHWC'`",
                    "onnx": "(N, C, H, W)",
                    "scipy": "plain axes",
                    "opencv": "(H, W, C), each channel by itself",
                },
            ),
            "w": Topic(
                ("the kernel", "卷积核"),
                {
                    "juanji": "(O, C/groups, kh, kw); channels last: (kh, kw, C/groups, O)",
                    "torch": "(O, C/groups, kh, kw)",
                    "keras": "(kh, kw, C/groups, O)",
                    "paddle": "(O, C/groups, kh, kw)",
                    "onnx": "(O, C/groups, kh, kw)",
                },
            ),
            "wt": Topic(
                ("the kernel of a transposed convolution", "转置卷积的核"),
                {
                    "juanji": "(C, O/groups, kh, kw); channels last: (kh, kw, O/groups, C)",
                    "torch": "(C, O/groups, kh, kw)",
                    "keras": "(kh, kw, O, C)",
                    "paddle": "(C, O/groups, kh, kw)",
                    "onnx": "(C, O/groups, kh, kw)",
                },
            ),
        },
    ),
    Theme(
        ("Stride, dilation, groups", "步幅、膨胀、分组"),
        {
            "stride": Topic(
                ("stride 2 down, 3 across", "步幅：纵向 2、横向 3"),
                {
                    "juanji": "`stride=(2, 3)`",
                    "torch": "`stride=(2, 3)`",
                    "keras": "`strides=(2, 3)`",
                    "paddle": "`stride=(2, 3)`",
                    "onnx": "`strides=[2, 3]`",
                    "scipy": "`[::2, ::3]` of the result",
                },
            ),
            "dilation": Topic(
                ("dilation", "膨胀（空洞）"),
                {
                    "juanji": "`dilation=2`",
                    "torch": "`dilation=2`",
                    "keras": "`dilation_rate=2`",
                    "paddle": "`dilation=2`",
                    "onnx": "`dilations=[2, 2]`",
                },
            ),
            "groups": Topic(
                ("groups", "分组"),
                {
                    "juanji": "`groups=2`",
                    "torch": "`groups=2`",
                    "keras": "`groups=2`",
                    "paddle": "`groups=2`",
                    "onnx": "`group=2`",
                },
            ),
        },
    ),
    Theme(
        ("Pooling", "池化"),
        {
            "max": Topic(
                ("maximum, windows over the end too", "最大池化，允许窗口越过末端"),
                {
                    "juanji": "`jj.pool(x, 3, stride=2, padding=1, ceil_mode=True)`",
                    "torch": "`F.max_pool2d(x, 3, 2, 1, ceil_mode=True)`",
                    "keras": "`MaxPooling2D(…, padding='same')`, no ceil_mode",
                    "paddle": "`F.max_pool2d(x, 3, 2, 1, ceil_mode=True)`",
                    "onnx": "`MaxPool`: `ceil_mode=1`",
                },
            ),
            "average": Topic(
                ("average, padding not counted", "平均池化，不计填充"),
                {
                    "juanji": '`kind="avg"`, the default',
                    "torch": "`count_include_pad=False`, not the default",
                    "keras": "the only way",
                    "paddle": "`exclusive=True`, the default",
                    "onnx": "`count_include_pad=0`, the default",
                },
            ),
            "adaptive": Topic(
                ("to a fixed size", "池化到固定尺寸"),
                {
                    "juanji": "`jj.adaptive_pool(x, (3, 3))`",
                    "torch": "`F.adaptive_max_pool2d(x, 3)`",
                    "paddle": "`F.adaptive_max_pool2d(x, 3)`",
                },
            ),
        },
    ),
)

# The checks -------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, W = RNG.integers(-9, 10, (2, 4, 10, 11)).astype("float32"), RNG.integers(-9, 10, (6, 4, 3, 3)).astype("float32")
WIDE = RNG.integers(-9, 10, (6, 4, 4, 3)).astype("float32")  # an even side, which has no middle
GROUPED, TRANSPOSED = W[:, :2], RNG.integers(-9, 10, (4, 5, 3, 3)).astype("float32")
A, K = X[0, 0], W[0, 0]
Made = Callable[[], Array]
CHECKS: dict[tuple[str, str], tuple[Made, Made]] = {}


def check(topic: str, library: str, ours: Made, theirs: Made) -> None:
    """Register what juanji makes, and what a library makes that is told as its entry says."""
    CHECKS[topic, library] = ours, theirs


def plain(a: Array, k: Array, **arguments: Any) -> Array:
    """conv of one channel."""
    y: Array = jj.conv(a[None, None], k[None, None], **arguments)[0, 0]
    return y


def padded(a: Array, amount: Any, boundary: Any) -> Array:
    """What conv sees of one channel."""
    return plain(a, np.ones((1, 1), a.dtype), padding=amount, boundary=boundary)


def tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _register_torch() -> None:
    def same(topic: str, ours: Made, theirs: Callable[[Any, Any, Any], Any]) -> None:
        def run() -> Array:
            import torch

            made: Array = theirs(torch.nn.functional, tensor(X), tensor(W)).detach().numpy()
            return made

        check(topic, "torch", ours, run)

    def conv(topic: str, ours: dict[str, Any], w: Array = W, **theirs: Any) -> None:
        same(topic, lambda: jj.conv(X, w, **ours), lambda f, x, _: f.conv2d(x, tensor(w), **theirs))

    def mode(boundary: str, theirs: str) -> None:
        def layer(f: Any, x: Any, w: Any) -> Any:
            import torch

            made = torch.nn.Conv2d(4, 6, 3, padding=2, padding_mode=theirs, bias=False)  # type: ignore[arg-type]
            made.weight.data = w
            return made(x)

        same(boundary, lambda: jj.conv(X, W, padding=2, boundary=boundary), layer)

    conv("correlation", {})
    conv("per axis", {"padding": (1, 2)}, padding=(1, 2))
    conv("valid", {"padding": "valid"}, padding="valid")
    conv("same", {"padding": "same"}, padding="same")
    conv("full", {"padding": "full"}, padding=2)
    conv("w", {"groups": 2}, GROUPED, groups=2)
    conv("stride", {"stride": (2, 3)}, stride=(2, 3))
    conv("dilation", {"dilation": 2}, dilation=2)
    conv("groups", {"groups": 2}, GROUPED, groups=2)
    for boundary, theirs in (("zero", "zeros"), ("edge", "replicate"), ("reflect", "reflect"), ("wrap", "circular")):
        mode(boundary, theirs)
    same("convolution", lambda: jj.conv(X, W, flip=True), lambda f, x, w: f.conv2d(x, w.flip(2, 3)))
    same("each side", lambda: jj.conv(X, W, padding=((1, 2), (0, 3))), lambda f, x, w: f.conv2d(f.pad(x, (0, 3, 1, 2)), w))
    same(
        "causal",
        lambda: jj.conv(X[:, :, 0], W[:, :, 1], padding="causal"),
        lambda f, x, w: f.conv1d(f.pad(x[:, :, 0], (2, 0)), w[:, :, 1]),
    )
    same(
        "constant",
        lambda: jj.conv(X, W, padding=2, boundary=("constant", 7)),
        lambda f, x, w: f.conv2d(f.pad(x, (2, 2, 2, 2), value=7), w),
    )
    same(
        "x",
        lambda: jj.conv(X.transpose(0, 2, 3, 1), W.transpose(2, 3, 1, 0), layout="channels_last").transpose(0, 3, 1, 2),
        lambda f, x, w: f.conv2d(x, w),
    )
    same(
        "transposed",
        lambda: jj.conv_transpose(X, TRANSPOSED, stride=2, padding=1, output_padding=1),
        lambda f, x, _: f.conv_transpose2d(x, tensor(TRANSPOSED), stride=2, padding=1, output_padding=1),
    )
    same(
        "wt",
        lambda: jj.conv_transpose(X, TRANSPOSED, groups=2),
        lambda f, x, _: f.conv_transpose2d(x, tensor(TRANSPOSED), groups=2),
    )
    same(
        "max",
        lambda: jj.pool(X, 3, stride=2, padding=1, ceil_mode=True),
        lambda f, x, _: f.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    )
    same(
        "average",
        lambda: jj.pool(X, 3, stride=2, padding=1, kind="avg"),
        lambda f, x, _: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    )
    same("adaptive", lambda: jj.adaptive_pool(X, (3, 3)), lambda f, x, _: f.adaptive_max_pool2d(x, 3))


def onnx(operator: str, *arrays: Array, **attributes: Any) -> Array:
    """What onnxruntime makes of one operator."""
    import onnxruntime
    from onnx import TensorProto, helper

    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(f"i{n}", kinds[array.dtype.name], array.shape) for n, array in enumerate(arrays)]
    node = helper.make_node(operator, [value.name for value in inputs], ["y"], **attributes)
    graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {f"i{n}": array for n, array in enumerate(arrays)})[0]
    return found


def _register_onnx() -> None:
    def conv(topic: str, ours: dict[str, Any], w: Array = W, **theirs: Any) -> None:
        check(topic, "onnx", lambda: jj.conv(X, w, **ours), lambda: onnx("Conv", X, w, **theirs))

    def mode(topic: str, boundary: Any, theirs: str, *value: Array) -> None:
        amounts = np.array([0, 0, 2, 2, 0, 0, 2, 2])
        check(
            topic,
            "onnx",
            lambda: jj.conv(X, W, padding=2, boundary=boundary),
            lambda: onnx("Conv", onnx("Pad", X, amounts, *value, mode=theirs), W),
        )

    conv("correlation", {})
    conv("each side", {"padding": ((1, 2), (0, 3))}, pads=[1, 0, 2, 3])
    conv("per axis", {"padding": (1, 2)}, pads=[1, 2, 1, 2])
    conv("valid", {"padding": "valid"}, auto_pad="VALID")
    conv("same", {"padding": "same", "stride": 2}, WIDE, auto_pad="SAME_UPPER", strides=[2, 2])
    conv("same lower", {"padding": "same_lower", "stride": 2}, WIDE, auto_pad="SAME_LOWER", strides=[2, 2])
    conv("full", {"padding": "full"}, pads=[2, 2, 2, 2])
    conv("w", {}, W)
    conv("stride", {"stride": (2, 3)}, strides=[2, 3])
    conv("dilation", {"dilation": 2}, dilations=[2, 2])
    conv("groups", {"groups": 2}, GROUPED, group=2)
    for boundary, theirs in (("zero", "constant"), ("edge", "edge"), ("reflect", "reflect"), ("wrap", "wrap")):
        mode(boundary, boundary, theirs)
    mode("constant", ("constant", 7), "constant", np.array(7, "float32"))
    turned = np.ascontiguousarray(W[:, :, ::-1, ::-1])
    check("convolution", "onnx", lambda: jj.conv(X, W, flip=True), lambda: onnx("Conv", X, turned))
    check(
        "transposed",
        "onnx",
        lambda: jj.conv_transpose(X, TRANSPOSED, stride=2, padding=1, output_padding=1),
        lambda: onnx("ConvTranspose", X, TRANSPOSED, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    )
    check("wt", "onnx", lambda: jj.conv_transpose(X, TRANSPOSED, groups=2), lambda: onnx("ConvTranspose", X, TRANSPOSED, group=2))
    window: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    check("max", "onnx", lambda: jj.pool(X, 3, stride=2, padding=1, ceil_mode=True), lambda: onnx("MaxPool", X, ceil_mode=1, **window))
    check("average", "onnx", lambda: jj.pool(X, 3, stride=2, padding=1, kind="avg"), lambda: onnx("AveragePool", X, **window))


def _register_scipy() -> None:
    def signal(name: str, a: Array, k: Array, mode: str = "full") -> Array:
        from scipy import signal

        found: Array = getattr(signal, name)(a, k, mode=mode)
        return found

    def ndimage(topic: str, boundary: Any, **arguments: Any) -> None:
        def run() -> Array:
            from scipy import ndimage

            found: Array = ndimage.correlate(A, K, **arguments)
            return found

        check(topic, "scipy", lambda: plain(A, K, padding=1, boundary=boundary), run)

    check("correlation", "scipy", lambda: jj.correlate(A, K, "full"), lambda: signal("correlate2d", A, K))
    check("convolution", "scipy", lambda: jj.convolve(A, K), lambda: signal("convolve2d", A, K))
    check("valid", "scipy", lambda: jj.correlate(A, K, "valid"), lambda: signal("correlate2d", A, K, "valid"))
    check("full", "scipy", lambda: jj.correlate(A, K, "full"), lambda: signal("correlate2d", A, K, "full"))
    even = WIDE[0, 0]
    check("centred", "scipy", lambda: jj.convolve(A, even, "same"), lambda: signal("convolve2d", A, even, "same"))
    sides = ((1, 2), (0, 3))
    check("each side", "scipy", lambda: plain(A, K, padding=sides), lambda: signal("correlate2d", np.pad(A, sides), K, "valid"))
    check("stride", "scipy", lambda: plain(A, K, stride=(2, 3)), lambda: signal("correlate2d", A, K, "valid")[::2, ::3])
    for topic, mode in (("zero", "constant"), ("edge", "nearest"), ("reflect", "mirror"), ("symmetric", "reflect"), ("wrap", "wrap")):
        ndimage(topic, topic, mode=mode)
    ndimage("constant", ("constant", 7), mode="constant", cval=7)


def _register_opencv() -> None:
    def filtered(kernel: Array, border: str = "BORDER_CONSTANT") -> Array:
        import cv2

        return np.asarray(cv2.filter2D(A, -1, kernel, borderType=getattr(cv2, border)))

    def made(top: int, bottom: int, left: int, right: int, border: str, value: float = 0) -> Array:
        import cv2

        return np.asarray(cv2.copyMakeBorder(A, top, bottom, left, right, getattr(cv2, border), value=value))

    def mode(topic: str, border: str) -> None:
        check(topic, "opencv", lambda: plain(A, K, padding=1, boundary=topic), lambda: filtered(K, border))

    inner = (slice(1, -1), slice(1, -1))
    check("correlation", "opencv", lambda: jj.correlate(A, K), lambda: filtered(K)[inner])
    check("convolution", "opencv", lambda: jj.convolve(A, K, "valid"), lambda: filtered(K[::-1, ::-1].copy())[inner])
    for topic, border in (("zero", "CONSTANT"), ("edge", "REPLICATE"), ("reflect", "REFLECT_101"), ("symmetric", "REFLECT")):
        mode(topic, f"BORDER_{border}")
    check("each side", "opencv", lambda: padded(A, ((1, 2), (0, 3)), "zero"), lambda: made(1, 2, 0, 3, "BORDER_CONSTANT"))
    check("wrap", "opencv", lambda: padded(A, 2, "wrap"), lambda: made(2, 2, 2, 2, "BORDER_WRAP"))
    check("constant", "opencv", lambda: padded(A, 2, ("constant", 7)), lambda: made(2, 2, 2, 2, "BORDER_CONSTANT", 7))


for register in (_register_torch, _register_onnx, _register_scipy, _register_opencv):
    register()

# The page ---------------------------------------------------------------------------------------------------------------

HEAD = (
    """# From and to other libraries

What the arguments are called elsewhere. A tick (✓) means that both spellings were run on the same numbers and gave the same result, in this
project's tests; the other entries are from the library's documentation. A library that is not in a list has no word for it.
`F` stands for `torch.nn.functional` and `paddle.nn.functional`, k for the kernel's size.
""",
    """# 与其他库的对照

各个参数在别的库里怎么写。带对勾（✓）的条目表示：本项目的测试用同一组数把两种写法都运行过，结果一致；其余条目依据该库的文档。
列表中没有出现的库，没有对应的写法。`F` 指 `torch.nn.functional` 和 `paddle.nn.functional`，k 为卷积核的大小。
""",
)


def page(language: str) -> str:
    """The page in "en" or "zh", as MyST markdown."""
    which = int(language == "zh")
    lines = [HEAD[which]]
    for theme in THEMES:
        lines += [f"## {theme.title[which]}", ""]
        for key, topic in theme.topics.items():
            lines += [f"### {topic.title[which].replace('|', chr(92) + '|')}", "", "| | |", "|---|---|"]
            for library, entry in topic.entries.items():
                tick = " ✓" if (key, library) in CHECKS else ""
                lines.append(f"| {LIBRARIES[library]}{tick} | {entry} |")
            lines.append("")
    return "\n".join(lines)

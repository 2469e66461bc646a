"""What the command line says, in English and Chinese. Errors raised by the library itself are in English."""

from collections.abc import Mapping, Sequence

LANGUAGES = ("en", "zh")

# key: (English, Chinese); braces are filled by `say`
TABLE: dict[str, tuple[str, str]] = {
    "app": (
        "Convolution, whole: filter pictures, explain layers, measure the machine.",
        "卷积：滤波图片、解释卷积层、测量机器。",
    ),
    "option.lang": ("Language of the messages: en or zh. By the locale if not given.", "消息语言：en 或 zh；缺省时按系统区域设置。"),
    "option.debug": ("Show the traceback of an error.", "出错时显示调用栈。"),
    "option.version": ("Print the version.", "打印版本。"),
    "option.json": ("Print one JSON object to standard output.", "在标准输出打印一个 JSON 对象。"),
    "option.threads": ("How many threads; all cores if not given.", "线程数；缺省时使用所有核心。"),
    "option.boundary": (
        "What lies outside the edge: zero, edge, reflect, symmetric, wrap, or constant=NUMBER.",
        "边界之外是什么：zero, edge, reflect, symmetric, wrap 或 constant=数值。",
    ),
    "filter": ("Filter a picture with a kernel.", "用卷积核对图片滤波。"),
    "filter.photo": ("The picture: any file that Pillow reads, or .npy.", "图片：Pillow 能读的任何文件，或 .npy。"),
    "filter.kernel": (
        "A name ({names}), rows such as '[[0,1,0],[1,-4,1],[0,1,0]]', or a .npy, .json or .txt file.",
        "名称（{names}）、如 '[[0,1,0],[1,-4,1],[0,1,0]]' 的各行，或 .npy、.json、.txt 文件。",
    ),
    "filter.output": ("Where to write; the suffix names the format.", "输出文件；由后缀决定格式。"),
    "filter.size": ("Side in pixels, odd: mean, gaussian, motion_blur.", "边长（像素，奇数）：mean, gaussian, motion_blur。"),
    "filter.sigma": ("Standard deviation in pixels: gaussian, unsharp.", "标准差（像素）：gaussian, unsharp。"),
    "filter.amount": ("How much to sharpen: unsharp.", "锐化强度：unsharp。"),
    "filter.angle": ("Degrees, counter-clockwise: motion_blur.", "角度，逆时针：motion_blur。"),
    "filter.stride": ("Keep every n-th pixel; 2, or 2x1 for rows x columns.", "每隔 n 个像素取一个；如 2，或 2x1（行 x 列）。"),
    "filter.signed": (
        "Write zero as middle grey instead of the magnitude.",
        "把零写成中灰，而不是写绝对值。",
    ),
    "filter.plan": ("Print the whole plan with its reasons.", "打印完整的计划及其理由。"),
    "filter.example": (
        "Example: juanji filter photo.jpg --kernel sobel -o edges.png",
        "示例：juanji filter photo.jpg --kernel sobel -o edges.png",
    ),
    "filter.note": (
        "A kernel whose weights add up to zero is a derivative: its magnitude is written, unless --signed.",
        "权重之和为零的核是导数：写出其绝对值，除非使用 --signed。",
    ),
    "filter.waiting": ("filtering {photo}", "正在滤波 {photo}"),
    "filter.done": (
        "{photo}: {width}×{height} pixels, {channels}, {dtype}, through {kernel} to {output}",
        "{photo}：{width}×{height} 像素，{channels}，{dtype}，经 {kernel} 写入 {output}",
    ),
    "filter.in_short": ("plan: {algorithm}, {schedule}", "计划：{algorithm}，{schedule}"),
    "channels.grey": ("grey", "灰度"),
    "channels.alpha": ("grey with alpha", "灰度加透明度"),
    "channels.colour": ("colour", "彩色"),
    "channels.both": ("colour with alpha", "彩色加透明度"),
    "filter.time": (
        "time: {warm} for the convolution, threads: {threads}, {share} of their {limit} limit"
        " (first run {first}, machine code made or loaded)",
        "卷积时间：{warm}，线程：{threads}，达到其{limit}极限的 {share}（首次运行 {first}，含生成或载入机器码）",
    ),
    "filter.once": (
        "time: {first}, machine code made or loaded in it, threads: {threads}, {share} of their {limit} limit",
        "时间：{first}（含生成或载入机器码），线程：{threads}，达到其{limit}极限的 {share}",
    ),
    "limit.multiply-add": ("multiply-add", "乘加"),
    "limit.copying": ("copying", "内存复制"),
    "filter.itself": (
        "-o (={output}) is the photo itself; name another file",
        "-o（={output}）就是原图；请另取文件名",
    ),
    "filter.no_sign": (
        "--signed: {kernel} is a magnitude and has no sign; use {first} or {second}",
        "--signed：{kernel} 是幅值，没有符号；请用 {first} 或 {second}",
    ),
    "filter.no_derivative": (
        "--signed: the weights of {kernel} do not add up to zero, so there is no sign to show; leave --signed out",
        "--signed：{kernel} 的权重之和不为零，没有可显示的符号；请去掉 --signed",
    ),
    "filter.bad_output": (
        "-o (={output!r}) must name a file that ends in one of {suffixes}",
        "-o（={output!r}）必须是以下列后缀之一结尾的文件名：{suffixes}",
    ),
    "filter.bad_shape": (
        "{photo}: has shape {shape}; a picture is H×W or H×W×C with 1 to 4 channels",
        "{photo}：形状为 {shape}；图片应为 H×W，或有 1 至 4 个通道的 H×W×C",
    ),
    "filter.bad_rows": (
        "--kernel (={kernel!r}) must be rows of finite numbers, all of one length, such as [[0,1,0],[1,-4,1],[0,1,0]]",
        "--kernel（={kernel!r}）必须是等长的若干行有限数值，例如 [[0,1,0],[1,-4,1],[0,1,0]]",
    ),
    "filter.bad_rows_in": (
        "{path}: does not hold a kernel: rows of finite numbers, all of one length",
        "{path}：不是卷积核：应为等长的若干行有限数值",
    ),
    "filter.bad_kernel": (
        "--kernel (={kernel!r}) must be a name ({names}), rows '[[...]]', or a .npy, .json or .txt file",
        "--kernel（={kernel!r}）必须是名称（{names}）、'[[...]]' 形式的各行，或 .npy、.json、.txt 文件",
    ),
    "filter.no_parameter": (
        "--{parameter} belongs to named kernels, not to one given by its numbers",
        "--{parameter} 只用于按名称给出的核，不用于直接给出数值的核",
    ),
    "bad_numbers": (
        "{option} (={value!r}) must be whole numbers joined by x, such as {example}",
        "{option}（={value!r}）必须是用 x 连接的整数，例如 {example}",
    ),
    "bad_boundary": (
        "--boundary (={value!r}) must be a mode or constant=NUMBER",
        "--boundary（={value!r}）必须是一种模式，或 constant=数值",
    ),
    "bad_sizes": (
        "{option} (={value!r}) must be sizes of at least 1 joined by x, such as {example}",
        "{option}（={value!r}）必须是用 x 连接的尺寸，每个至少为 1，例如 {example}",
    ),
    "info": ("This machine, the versions, the caches.", "本机、版本与缓存。"),
    "info.example": ("Example: juanji info --json", "示例：juanji info --json"),
    "info.versions": ("versions", "版本"),
    "info.machine": ("machine", "机器"),
    "info.vectors": ("vectors", "向量"),
    "info.vectors.value": ("{bits} bits, {registers} registers", "{bits} 位，{registers} 个寄存器"),
    "info.caches": ("data caches", "数据缓存"),
    "info.peak": ("limit of one core", "单核极限"),
    "info.peak.value": (
        "{f32} float32, {f64} float64, copying {bandwidth}",
        "float32 {f32}，float64 {f64}，复制 {bandwidth}",
    ),
    "info.cores": ("cores", "核心"),
    "info.store": ("compiled code kept", "已保存的机器码"),
    "info.store.value": ("{files} files, {size}, in {folder}", "{files} 个文件，{size}，位于 {folder}"),
    "explain": ("Shapes, counts and plans, without data.", "不需要数据：形状、数量与计划。"),
    "explain.conv": (
        "Explain one convolution: shapes, counts, plan and prediction.",
        "解释一个卷积：形状、数量、计划与预测。",
    ),
    "explain.example": (
        "Example: juanji explain conv --input 3x224x224 --kernel 64x7x7 --stride 2 --padding 3",
        "示例：juanji explain conv --input 3x224x224 --kernel 64x7x7 --stride 2 --padding 3",
    ),
    "explain.input": ("Channels and sizes, such as 3x224x224, whatever the layout.", "通道数与尺寸，如 3x224x224，与布局无关。"),
    "explain.kernel": ("Output channels and sizes, such as 64x7x7.", "输出通道数与尺寸，如 64x7x7。"),
    "explain.batch": ("How many inputs at once.", "一次多少个输入。"),
    "explain.padding": (
        "A number, one per axis (3x1), low:high per axis (0:1x0:1), or valid, same, same_lower, full, causal.",
        "一个数、每轴一个（3x1）、每轴 低:高（0:1x0:1），或 valid, same, same_lower, full, causal。",
    ),
    "explain.stride": ("A number, or one per axis: 2x1.", "一个数，或每轴一个：2x1。"),
    "explain.dilation": ("Distance between the kernel's elements.", "卷积核元素的间距。"),
    "explain.groups": ("Groups of channels that do not mix.", "互不混合的通道组数。"),
    "explain.dtype": ("float32, float64, or uint8 for pictures.", "float32、float64，图片可用 uint8。"),
    "explain.layout": ("channels_first or channels_last.", "channels_first 或 channels_last。"),
    "explain.shape": ("input {x} → output {y}", "输入 {x} → 输出 {y}"),
    "explain.axis": (
        "axis {axis}: ⌊({size} + {low} + {high} − {span}) / {stride}⌋ + 1 = {output}",
        "第 {axis} 轴：⌊({size} + {low} + {high} − {span}) / {stride}⌋ + 1 = {output}",
    ),
    "explain.counts": ("{weights:,} weights and {biases:,} biases", "{weights:,} 个权重和 {biases:,} 个偏置"),
    "explain.work": (
        "{macs:,} MACs ({flops:,} FLOPs), {bytes} moved at least: {intensity:.1f} FLOPs per byte",
        "{macs:,} 次乘加（{flops:,} FLOPs），至少搬运 {bytes}：每字节 {intensity:.1f} FLOPs",
    ),
    "bench": (
        "Measure the table of named problems beside its peers. Other options go to `python -m bench`, whose --help lists them.",
        "测量命名问题表，并与同类库比较。其余选项交给 `python -m bench`，见其 --help。",
    ),
    "bench.only": ("Only the rows whose name contains this; may be repeated.", "只测名称中含有它的行；可重复。"),
    "bench.example": ('Example: juanji bench --only "one channel"', '示例：juanji bench --only "one channel"'),
    "bench.missing": (
        "bench: the benchmarks are not part of the installed package; clone the repository and run `juanji bench` from an editable install"
        " (pip install -e '.[bench]')",
        "bench：安装包不含基准测试；请克隆仓库，并以可编辑方式安装后运行 juanji bench（pip install -e '.[bench]'）",
    ),
    "error": ("error: {text}", "错误：{text}"),
    "usage": ("error: {text} (see {command} --help)", "用法错误：{text}（参见 {command} --help）"),
    "interrupted": ("interrupted", "已中断"),
}

_language = 0


def use(language: str) -> None:
    """Speak this language from now on.

    >>> use("zh"); say("interrupted")
    '已中断'
    >>> use("en"); say("interrupted")
    'interrupted'
    """
    global _language
    _language = LANGUAGES.index(language)


def say(key: str, **values: object) -> str:
    """The message of a key, its braces filled."""
    return TABLE[key][_language].format(**values)


def choose(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """The language that the arguments or else the locale ask for.

    >>> choose(["info", "--lang", "zh"], {}), choose([], {"LANG": "zh_CN.UTF-8"}), choose([], {"LANG": "C"})
    ('zh', 'zh', 'en')
    """
    for i, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option == "--lang":
            language = value if equals else "".join(arguments[i + 1 : i + 2])
            if language in LANGUAGES:
                return language
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"

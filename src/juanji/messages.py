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
    "info.peak.dots": (", dot products {rate} int8", "，点积指令 int8 {rate}"),
    "info.peak.matrix": (", matrix unit {rate} bfloat16", "，矩阵单元 bfloat16 {rate}"),
    "info.cores": ("cores", "核心"),
    "info.store": ("compiled code kept", "已保存的机器码"),
    "info.store.value": ("{files} files, {size}, in {folder}", "{files} 个文件，{size}，位于 {folder}"),
    "option.network": (
        "a model's name, the folder of a run, a file of a saved network, or an ONNX file",
        "模型名、训练运行的文件夹、保存的网络文件或 ONNX 文件",
    ),
    "explain.net": (
        "Explain a network: shapes, parameters, multiply-adds and receptive field of every layer.",
        "说明一个网络：每层的形状、参数、乘加次数与感受野。",
    ),
    "explain.net.example": (
        "Example: juanji explain net vgg-16 --layer pool5 --unit 3,3",
        "示例：juanji explain net vgg-16 --layer pool5 --unit 3,3",
    ),
    "explain.net.input": (
        "shape of the input, such as 3x224x224, if it is not the network's own",
        "输入形状，如 3x224x224（默认用网络自己的）",
    ),
    "explain.net.layer": ("the receptive field of this layer instead of the table", "只给出这一层的感受野，而不是整张表"),
    "explain.net.unit": ("which of the layer's units, such as 7,7; the middle one unless said", "层中的哪个单元，如 7,7；默认取中间的"),
    "explain.net.unit_of": ("--unit needs --layer", "--unit 需要 --layer"),
    "explain.net.waiting": ("{network} is counted", "正在统计 {network}"),
    "train": ("Train a network on a data set, into a folder.", "在数据集上训练网络，结果写入文件夹。"),
    "train.example": (
        "Example: juanji train lenet-5 --data mnist --epochs 4 --schedule one-cycle --out run/",
        "示例：juanji train lenet-5 --data mnist --epochs 4 --schedule one-cycle --out run/",
    ),
    "train.data": (
        "the name of a data set (mnist, cifar10 ...), or a folder or file of your own",
        "数据集名（mnist、cifar10 等），或自己的文件夹或文件",
    ),
    "train.out": ("the folder of the run: settings, numbers, checkpoints, the network", "训练运行的文件夹：设置、数值、检查点与网络"),
    "train.epochs": ("how often every sample is seen", "每个样本看几遍"),
    "train.resume": (
        "go on with the run in that folder, with the same options, where its last checkpoint is",
        "用相同的选项从该文件夹的最后一个检查点继续",
    ),
    "train.seed": (
        "what the parameters, the order of the samples and dropout are drawn from",
        "随机种子：参数初值、样本顺序与 dropout",
    ),
    "train.limit": ("at most so many samples of each part, drawn at random", "每部分最多随机取这么多样本"),
    "train.lr": ("learning rate: 0.1 for sgd and 0.001 for adam and adamw unless said", "学习率；缺省 sgd 为 0.1，adam 与 adamw 为 0.001"),
    "train.batch_size": ("samples in a batch", "每批样本数"),
    "train.optimizer": ("how a step follows from the gradients", "由梯度得到更新的方法"),
    "train.momentum": ("momentum of sgd", "sgd 的动量"),
    "train.weight_decay": ("how much parameters are pulled towards 0", "权重衰减"),
    "train.schedule": ("how the learning rate changes on the way", "学习率随训练的变化"),
    "train.max_iterations": ("stop after so many steps", "最多迭代次数"),
    "train.tol": ("stop when no parameter changed by as much in a step", "一步中所有参数的变化都小于该值时停止"),
    "train.patience": (
        "stop when the loss on the test part has not fallen for so many epochs, and keep the best",
        "测试部分的损失连续这么多轮不下降时停止，并保留最好的参数",
    ),
    "train.loading": ("loading {data}", "正在载入 {data}"),
    "train.start": (
        "{network}: {parameters:,} parameters; {samples:,} samples to train, {test:,} to test",
        "{network}：{parameters:,} 个参数；训练样本 {samples:,} 个，测试样本 {test:,} 个",
    ),
    "train.done": ("stopped after {iterations} steps in {epochs} epochs: {reason}", "{iterations} 步、{epochs} 轮后停止：{reason}"),
    "train.stopped.epochs": ("all epochs are done", "已完成全部轮数"),
    "train.stopped.max_iterations": ("the last step was reached", "已达最多迭代次数"),
    "train.stopped.tol": ("no parameter changed any more", "参数不再变化"),
    "train.stopped.patience": ("the test loss no longer fell", "测试损失不再下降"),
    "train.interrupted": (
        "stopped with a checkpoint; the same command with --resume goes on from {out}",
        "已停止并保存检查点；用同一命令加 --resume 从 {out} 继续",
    ),
    "eval": ("How good a network is on a data set.", "网络在数据集上的成绩。"),
    "eval.example": ("Example: juanji eval run/ --data mnist", "示例：juanji eval run/ --data mnist"),
    "eval.part": ("which part of the data", "用数据的哪一部分"),
    "eval.waiting": ("{network} is tested", "正在测试 {network}"),
    "eval.no_graph": (
        "{network} takes inputs of several shapes, which only Python can give it",
        "{network} 的输入形状不固定，只能在 Python 中使用",
    ),
    "predict": ("What a network says of a picture.", "网络怎样看一张图片。"),
    "predict.example": (
        "Example: juanji predict efficientnet-lite0 photo.jpg",
        "示例：juanji predict efficientnet-lite0 photo.jpg",
    ),
    "predict.photo": ("the picture", "图片"),
    "predict.output": ("where a mask, or a class for every pixel, is written as a picture", "掩模（或每个像素的类别）图片写到哪里"),
    "predict.top": ("how many classes are listed", "列出多少个类别"),
    "predict.mean": (
        "what is subtracted, one number or one for each channel, instead of the network's own",
        "减去的均值：一个数或每通道一个",
    ),
    "predict.deviation": ("what is divided by, likewise", "除以的数，同上"),
    "predict.size": ("the height and width that the picture is brought to, such as 224x224", "图片缩放到的高与宽，如 224x224"),
    "predict.waiting": ("{network} looks at the picture", "{network} 正在看图片"),
    "predict.no_picture": (
        "{network} takes other inputs than one picture; use nn.from_onnx in Python",
        "{network} 的输入不是一张图片；请在 Python 中用 nn.from_onnx",
    ),
    "predict.needs_output": ("the network gives a picture; -o FILE says where it goes", "网络给出的是图片；请用 -o 文件 指明写到哪里"),
    "predict.mask": ("{share} of the pixels are above one half; written to {output}", "{share} 的像素高于二分之一；已写到 {output}"),
    "predict.labels": ("a grey for every class; written to {output}", "每个类别一种灰度；已写到 {output}"),
    "look": ("A page about what a network makes of a photo.", "生成网页：网络如何看一张照片。"),
    "look.example": (
        "Example: juanji look efficientnet-lite0 photo.jpg -o report.html",
        "示例：juanji look efficientnet-lite0 photo.jpg -o report.html",
    ),
    "look.output": ("where the page is written: one HTML file that needs no other", "网页写到哪里：单个 HTML 文件"),
    "look.filters": ("how many filters of each stage are maximised", "每个阶段最大化多少个滤波器"),
    "look.waiting": ("looking inside {network}", "正在查看 {network} 的内部"),
    "look.done": ("one page of {size} MB", "一个网页，{size} MB"),
    "bad_list": (
        "{option} (={value}) must be numbers joined by commas, such as {example}",
        "{option}（={value}）必须是逗号分隔的数，如 {example}",
    ),
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
    "explain.unused": (", unused: {elements}", "，未使用：{elements}"),
    "explain.counts": ("{weights:,} weights and {biases:,} biases", "{weights:,} 个权重和 {biases:,} 个偏置"),
    "explain.work": (
        "{macs:,} MACs ({flops:,} FLOPs), {bytes} moved at least: {intensity:.1f} FLOPs per byte",
        "{macs:,} 次乘加（{flops:,} FLOPs），至少搬运 {bytes}：每字节 {intensity:.1f} FLOPs",
    ),
    "operators.input": (
        "Sizes joined by x, then filled with 1, 2, 3, …, or numbers such as '[[1,2],[3,4]]'.",
        "用 x 连接的尺寸（按 1, 2, 3, … 填充），或数值，如 '[[1,2],[3,4]]'。",
    ),
    "operators.kernel": (
        "Sizes joined by x, then filled with 1, 2, 3, …, numbers such as '[[0,1],[2,3]]', or a kernel's name.",
        "用 x 连接的尺寸（按 1, 2, 3, … 填充）、数值，如 '[[0,1],[2,3]]'，或核的名称。",
    ),
    "operators.channels": ("Input channels, where sizes are given.", "输入通道数（仅当给出尺寸时）。"),
    "operators.features": ("Output channels, where sizes are given.", "输出通道数（仅当给出尺寸时）。"),
    "operators.flip": ("Turn the kernel by 180°: mathematical convolution.", "把核旋转 180°：数学上的卷积。"),
    "operators.one_channel": (
        "{option} gives numbers, which are of one channel; leave --channels and --features out",
        "{option} 给出的是单通道数值；请去掉 --channels 和 --features",
    ),
    "operators.bad_array": (
        "{option} (={value!r}) must be nested lists of finite numbers, all rows of one length, such as [[0,1],[2,3]]",
        "{option}（={value!r}）必须是由有限数值组成、各行等长的嵌套列表，例如 [[0,1],[2,3]]",
    ),
    "operators.axes": (
        "--kernel (={kernel!r}) has {axes} axes, but --input (={input!r}) has {others}",
        "--kernel（={kernel!r}）有 {axes} 个轴，而 --input（={input!r}）有 {others} 个",
    ),
    "matrix": ("A convolution as the sparse matrix C of y = C·x.", "把卷积写成稀疏矩阵 C：y = C·x。"),
    "matrix.example": ("Example: juanji matrix --input 4x4 --kernel 3x3", "示例：juanji matrix --input 4x4 --kernel 3x3"),
    "matrix.shape": ("C is {shape}: outputs {outputs} by inputs {inputs}", "C 为 {shape}：输出 {outputs}，输入 {inputs}"),
    "matrix.entries": ("{count:,} non-zeros, {each} to a row", "{count:,} 个非零元素，每行 {each} 个"),
    "matrix.offset": (
        "the constant outside adds {least} to {most} to the outputs",
        "边界外的常数给各输出加上 {least} 至 {most}",
    ),
    "trace": ("The arithmetic of one output element, term by term.", "逐项写出一个输出元素的算式。"),
    "trace.example": (
        "Example: juanji trace --input '[[1,2,3],[4,5,6],[7,8,9]]' --kernel '[[0,1],[2,3]]' --position 0,0",
        "示例：juanji trace --input '[[1,2,3],[4,5,6],[7,8,9]]' --kernel '[[0,1],[2,3]]' --position 0,0",
    ),
    "trace.position": (
        "The output element, counted from 0: 1,2; with its channel in front where there are several.",
        "输出元素的位置，从 0 起：如 1,2；有多个通道时前面加上通道号。",
    ),
    "trace.bias": ("Added to the sum.", "加到和上的偏置。"),
    "trace.transposed": ("The transposed convolution (deconvolution).", "转置卷积（反卷积）。"),
    "trace.activation": ("relu, relu6, sigmoid, tanh or leaky_relu.", "relu, relu6, sigmoid, tanh 或 leaky_relu。"),
    "trace.pool": (
        "Pool instead, over windows of the kernel's sizes: max, avg, lp or weighted (Gaussian).",
        "改为池化，窗口为核的尺寸：max, avg, lp 或 weighted（高斯）。",
    ),
    "trace.outside": ("[ ] stands outside the input: {boundary}", "[ ] 位于输入之外：{boundary}"),
    "trace.no_pool": ("{option} belongs to convolution, not to pooling", "{option} 属于卷积，不属于池化"),
    "trace.bad_position": (
        "--position (={value!r}) must be whole numbers joined by commas, such as 1,2",
        "--position（={value!r}）必须是用逗号连接的整数，例如 1,2",
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
    "match": ("Find where a template stands in a picture.", "在图片中寻找模板的位置。"),
    "match.template": ("The template: a smaller picture.", "模板：一幅较小的图片。"),
    "match.output": (
        "Where to write the likeness of every window, black for none and white for the best.",
        "输出各窗口相似度的图片：黑为无，白为最佳。",
    ),
    "match.mask": ("How much each pixel of the template counts: black not at all.", "模板各像素的权重：黑色不计。"),
    "match.method": (
        "ncc: likeness whatever the brightness and contrast, -1 to 1; correlation: plain sums of products.",
        "ncc：与亮度、对比度无关的相似度，-1 到 1；correlation：直接的乘积和。",
    ),
    "match.example": (
        "Example: juanji match photo.png part.png -o likeness.png",
        "示例：juanji match photo.png part.png -o likeness.png",
    ),
    "match.waiting": ("comparing {photo}", "正在比较 {photo}"),
    "match.done": (
        "best at row {row}, column {column}, {height}×{width} pixels from there: {best:.4g}",
        "最佳位置：第 {row} 行、第 {column} 列起 {height}×{width} 像素，相似度 {best:.4g}",
    ),
    "slide": (
        "Animate a window sliding over its input: GIF, MP4, numbered PNG or SVG frames, or a figure with a time slider.",
        "窗口在输入上滑动的动画：GIF、MP4、逐帧 PNG 或 SVG，或带时间滑块的图窗。",
    ),
    "slide.input": (
        "Sizes, such as 5x5, or 7 for a signal, filled with sample numbers; or the numbers: '[[1,2],[3,4]]'.",
        "尺寸，如 5x5，信号如 7，以示例数填充；或直接给出数值：'[[1,2],[3,4]]'。",
    ),
    "slide.kernel": (
        "Sizes, such as 3x3, filled with sample numbers; or the numbers, or a kernel's name.",
        "尺寸，如 3x3，以示例数填充；或直接给出数值，或核的名称。",
    ),
    "slide.output": (
        "Where to write: .gif, .mp4, .png, .svg. Without it a window opens.",
        "输出文件：.gif、.mp4、.png、.svg；缺省时打开窗口。",
    ),
    "slide.operator": (
        "conv, conv_transpose, conv_grad_input, pool or pool_grad.",
        "conv、conv_transpose、conv_grad_input、pool 或 pool_grad。",
    ),
    "slide.scatter": (
        "Draw conv_transpose and conv_grad_input as every element launching a copy of the kernel.",
        "把 conv_transpose 与 conv_grad_input 画成每个元素发出一份卷积核。",
    ),
    "slide.kind": ("Of pooling: max, avg, lp or weighted.", "池化种类：max、avg、lp 或 weighted。"),
    "slide.view": ("perspective or flat.", "perspective（透视）或 flat（平面）。"),
    "slide.dark": ("For a dark background.", "深色背景。"),
    "slide.seconds": ("For which a frame stands.", "每帧停留的秒数。"),
    "slide.example": (
        "Example: juanji slide --input 5x5 --kernel 3x3 --stride 1x2 -o slide.gif",
        "示例：juanji slide --input 5x5 --kernel 3x3 --stride 1x2 -o slide.gif",
    ),
    "slide.waiting": ("drawing {count} frames", "正在绘制 {count} 帧"),
    "slide.done": (
        "{count} frames of {width}×{height} pixels, {seconds:g} s each",
        "{count} 帧，每帧 {width}×{height} 像素，停留 {seconds:g} 秒",
    ),
    "slide.no_pool": (
        "--boundary, --flip and --features have no meaning with pooling",
        "--boundary、--flip、--features 不能用于池化",
    ),
    "slide.no_window": (
        "-o must name a file here, because no window can be opened",
        "此处无法打开窗口，请用 -o 指定输出文件",
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


def current() -> str:
    """The language spoken now."""
    return LANGUAGES[_language]


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

"""What a report says, in English and Chinese."""

from juanji.messages import LANGUAGES

TABLE = {  # key: (English, Chinese)
    "title": ("Inside {network}", "{network} 的内部"),
    "network": ("the network", "网络"),
    "made": ("Made by juanji {version} in {seconds:.1f} s. Every picture is computed from this network and this photo.",
             "由 juanji {version} 生成，用时 {seconds:.1f} 秒。所有图片都由此网络与此照片计算得出。"),
    "seen": ("The photo as the network sees it, {size}", "网络看到的照片，{size}"),
    "says": ("What it says", "网络的回答"),
    "mask": ("For every pixel a probability", "每个像素的概率"),
    "labels": ("For every pixel a class", "每个像素的类别"),
    "numbers": ("It gives {values}", "输出 {values}"),
    "why": ("What the answer rests on", "回答的依据"),
    "why.note": ("For “{target}”: blue speaks for it, orange against it.", "针对“{target}”：蓝色表示支持，橙色表示反对。"),
    "saliency": ("Saliency: how strongly each pixel moves the score", "显著图：每个像素对得分的影响"),
    "guided": ("Guided back-propagation: which details speak for it", "导向反向传播：哪些细节支持它"),
    "grad_cam": ("Grad-CAM: where the last maps speak for it", "Grad-CAM：最后的特征图在何处支持它"),
    "occlusion": ("Occlusion: how far the score falls where a {size}-pixel patch hides the photo",
                  "遮挡：用 {size} 像素方块遮住照片时得分的下降"),
    "fields": ("What one unit sees", "一个单元看到的范围"),
    "fields.note": ("The receptive field of the middle unit where each stage of the network ends; the rest of the photo is dimmed.",
                    "网络每个阶段末尾中央单元的感受野；照片其余部分变暗。"),
    "field": ("field {size}, stride {stride}", "感受野 {size}，步幅 {stride}"),
    "varies": ("varies", "不定"),
    "kernels": ("The kernels of {layer}", "{layer} 的卷积核"),
    "kernels.colour": ("{count} kernels of {size}, in the colours they answer to; grey is 0.",
                       "{count} 个 {size} 的卷积核，以其响应的颜色显示；灰色为 0。"),
    "kernels.grey": ("{count} kernels of {size}, and the classic kernel each is most like: 1.00 is the same, − its negative.",
                     "{count} 个 {size} 的卷积核，及其最相似的经典核：1.00 表示相同，− 表示反号。"),
    "maps": ("Feature maps", "特征图"),
    "maps.note": ("Of each layer the maps that vary most, on a scale of its own: blue above 0, orange below; 0 is the page itself.",
                  "每层变化最大的特征图，各层有自己的色标：蓝色大于 0，橙色小于 0，0 为页面底色。"),
    "maps.stage": ("Maps of {size}, layers: {count}", "{size} 的特征图（{count} 层）"),
    "maps.layer": ("{shown} of {count} maps, {low} … {high}", "{count} 张中的 {shown} 张，{low} … {high}"),
    "deconvnet": ("What the strongest activations saw", "最强激活看到了什么"),
    "deconvnet.note": ("At the left the part of the photo under each unit, at the right its activation sent back to the pixels, "
                       "through the network backwards (deconvnet).",
                       "左边是各单元所见的照片区域，右边是其激活经反卷积网络送回像素的结果。"),
    "deconvnet.guided": ("At the left the part of the photo under each unit, at the right its activation sent back to the pixels, "
                         "through the network backwards, where it passes only what was positive on the way forward as well: "
                         "without max pooling nothing else remembers the picture.",
                         "左边是各单元所见的照片区域，右边是其激活逆着网络送回像素的结果；只让前向时也为正的部分通过：没有最大池化，就没有别的东西记得这张照片。"),
    "deconvnet.units": ("features {features}", "特征 {features}"),
    "maximise": ("What the filters look for", "滤波器在寻找什么"),
    "maximise.note": ("Pictures that raise the mean activation of one filter each, climbed from grey, in {steps} steps. "
                      "Filters with the same letter show nearly one texture, turned by the angle.",
                      "从灰色出发，经 {steps} 步梯度上升，使单个滤波器平均激活增大的图片。字母相同者纹理几乎相同，角度为相对旋转。"),
    "frequency": ("How fine, how directed", "粗细与方向"),
    "frequency.note": ("Of these pictures: the mean spatial frequency, and how much they keep to one direction "
                       "(1 is a single direction, 0 none).",
                       "这些图片的平均空间频率，以及方向选择性（1 为单一方向，0 为无方向）。"),
    "frequency.cycles": ("cycles per pixel", "周期/像素"),
    "frequency.selectivity": ("orientation selectivity", "方向选择性"),
    "layers": ("All layers", "所有层"),
    "layers.count": ("Layers: {count}", "共 {count} 层"),
    "layers.note": ("{parameters} parameters, {macs} multiply-adds.", "{parameters} 个参数，{macs} 次乘加。"),
    "layers.head": ("layer|kind|output|parameters|multiply-adds|field|stride|padding", "层|类型|输出|参数|乘加|感受野|步幅|填充"),
}  # fmt: skip


class ReportWords:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        return TABLE[key][LANGUAGES.index(self.language)].format(**values)

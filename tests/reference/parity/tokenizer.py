"""Tokenizer fixtures, for `tests/parity/tokenizer.rs`."""

import json
import random
import unicodedata

from parity.base import Base
from parity.registry import Json, fixture

TAGS = {
    "hair": "short hair|long hair|bob hair|hair bun|afro|spiky hair|buzz cut|mullet|bald|curly hair|red hat|winter hat",
    "colour": "black hair|brown hair|blonde hair|red hair|pink hair|silver hair|blue hair",
    "skin": "pale skin|tan skin|brown skin|dark skin",
    "accessories": "glasses|round glasses|sunglasses",
    "eyes": "open eyes|closed eyes|happy eyes|sideways glance|wide eyes|wink|heart eyes",
    "eyebrows": "angry eyebrows|sad eyebrows|raised eyebrows",
    "mouth": "smile|serious mouth|frown|open mouth|slight smile|tongue out",
    "facial hair": "beard|long beard|moustache",
    "clothes": "red hoodie|white t-shirt|purple sweater|black blazer|yellow overalls",
    "background": "white background|gray background|blue background|pink background",
    "head": "small head",
}

PROMPTS = """
a photo of a cat
masterpiece, best quality, 1girl, solo, looking at viewer, upper body
(masterpiece:1.2), (best quality), ((detailed)), [blurry], {sharp}
portrait of a woman, 35mm f/1.4, bokeh, golden hour, ISO-100, 1/250s
<lora:glasses:0.8> a man with glasses
a cat AND a dog BREAK a bird
__wildcard__, prompt_with_underscores, snake_case_name
embedding:bad-hands-5, (worst quality:1.4)
https://example.org/path?query=1&other=two#fragment
C:\\Users\\name\\picture.png
name@example.org +49 (0)30 123-456
3.14159 2,718 1e-5 0x1F 1st 2nd 3rd 10th 42% $9.99 #1 No.5
2024-02-29T12:34:56Z
1girl 2boys 3d 4k 8K uhd16
1234567890123456789012345678901234567890
don't can't won't I'm I've I'd I'll she's they're we've it's o'clock
DON'T CAN'T I'M I'VE I'LL SHE'S THEY'RE
don’t can’t I’m we’re
'tis 'twas rock'n'roll 's 't 're 've 'm 'll 'd ''s '''
y'all'd've shouldn't've
it 's they 're
's't're've'm'll'd
hello,world hello , world hello ,world
!!! ??? ... …… --- ___ === +++ *** ~~~ ^^^
!?.,;:'"`´‘’“”«»‹›„‚
()[]{}<>/\\|&@#$%^*-+=~_
-- --- – — ― − ‐ ‑
a-b a–b a—b a/b a\\b a.b a_b a+b a=b a|b a*b
e.g. i.e. etc. U.S.A. Ph.D. Mr. O'Neil
f(x) = x^2 + 2x - 1; ∀x∈ℝ: x²≥0 ∑∏∫√∞≈≠≤≥±×÷
© ® ™ ° § ¶ † ‡ • · ‰ € £ ¥ ¢ ₿ № ℃ ℉ Å K Ω
½ ¼ ¾ ⅓ ⅛ ² ³ ¹ ⁴ ₁ ₂ Ⅷ ⅳ ① ⑳ ㈱ ㍿ ㎏
supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis
antidisestablishmentarianism floccinaucinihilipilification
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
qwrtpsdfghjklzxcvbnm xqzjvkw
ALL CAPS PROMPT WITH SHOUTING
CamelCaseWords mixedCASE iPhone eBay McDonald
naïve café résumé façade jalapeño Zürich Ångström smörgåsbord
Straße Fuß groß STRASSE ẞ ß
İstanbul ISTANBUL ıstanbul I İ i ı
ſ ſt ﬆ ﬁ ﬂ ﬃ ŉ ǰ ΐ
Ǆ ǅ ǆ Ǉ ǈ ǉ Ǳ ǲ ǳ
ΟΔΥΣΣΕΥΣ Οδυσσεύς ΣΑΣ Σ σ ς
Ω Ω K K Å Å µ μ
ÀÉÎÕÜ àéîõü Ÿ ÿ Æ æ Œ œ Ø ø Đ đ Ł ł Þ þ Ð ð
Привет, мир! Ёлка Её ЩУКА
Здравствуйте как дела сегодня
Ελληνικά γλώσσα Καλημέρα
Հայերեն լեզու Բարեւ
ქართული ენა ᲥᲐᲠᲗᲣᲚᲘ
עברית שלום עולם שָׁלוֹם
مرحبا بالعالم العربية ٠١٢٣٤٥٦٧٨٩
السَّلامُ عَلَيْكُمْ ﷺ ﷽
فارسی سلام ۱۲۳ می‌خواهم
اردو زبان ہے
हिन्दी नमस्ते दुनिया १२३
বাংলা ভাষা நன்றி తెలుగు ಕನ್ನಡ മലയാളം
ไทย สวัสดีชาวโลก ๑๒๓
ລາວ ພາສາ ភាសាខ្មែរ မြန်မာ
བོད་ཡིག སිංහල
አማርኛ ሰላም ልዑል
日本語 こんにちは世界 カタカナ ｶﾀｶﾅ ひらがな
女の子、眼鏡、笑顔、背景は青
コピー機学習 ﾊﾟﾊﾟ パパ ハ゜ガ か゛が
中文 你好，世界！ 繁體中文 简体
戴眼镜的男人。微笑，红色衣服
한국어 안녕하세요 세계 한글 ㄱㄴㄷ
Tiếng Việt Xin chào thế giới ặ ộ ữ
Türkçe ğüşöçıİ Čeština řžýáíé Polski ąćęłńóśźż
Íslenska Gaeilge Cymraeg ŵ ŷ Esperanto ĉĝĥĵŝŭ
𝔣𝔯𝔞𝔨𝔱𝔲𝔯 𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𝟙𝟚𝟛 𝟬𝟭
ＦＵＬＬ ｗｉｄｔｈ １２３ ！？
ⓒⓘⓡⓒⓛⓔⓓ Ⓐ ⓩ 🄰 🅰
𐐀𐐨 𐓀 𞤀 𞤢 𖹀
𐤀𐤁 𓀀𓁐 𒀀𒀁 ᚠᚢᚦ ᚁᚂ ᏣᎳᎩ ꮳꮃꭹ
⠁⠂⠃ ♔♕♖ ♠♣♥♦ ♩♪♫ ☀☁☂ ✓✗✘ ←↑→↓ ⇒⇔
┌─┐│└┘█▓▒░ ▲▼◆● ★☆
a\u0301 e\u0301 o\u0308 n\u0303 c\u0327
\u0301alone \u0301\u0302\u0303
a\u0323\u0307 a\u0307\u0323 q\u0307\u0323
Z\u0351\u036b\u0343a\u0315\u030dl\u0322g\u0335o\u0337
A\u030a \u212b \u00c5
\u1e9b\u0323 \u017f\u0323\u0307
\uac01 \u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af
\u0958 \u0915\u093c \u09dc \u0b5c \u0fb2\u0f80
\u2126 \u03a9 \u212a K \u1fef \u0060 \u2000\u2001
\ufb1d \u05d9\u05b4 \ufb4e \u2adc
\uf900 \uf90a \u8c48 \u91d1 \U0002f800 \u4e3d
\U0001d15e \U0001d160 \U0001d1bb
😀 😂 🥰 🤔 👍 🎉 🔥 ❤ ❤️ ✨
smile😀smile 😀😀😀 😀 😀
👨‍👩‍👧‍👦 👩🏽‍💻 🧑‍🚀 🏳️‍🌈 🏴‍☠️ 🐈‍⬛
👍🏻👍🏼👍🏽👍🏾👍🏿
🇩🇪 🇯🇵 🇺🇳 🇩 🇪🇩🇪
1️⃣ #️⃣ *️⃣ ©️ ™️ ▶️ ☺︎
🏴󠁧󠁢󠁳󠁣󠁴󠁿 flag
¯\\_(ツ)_/¯ (╯°□°)╯︵ ┻━┻ ʕ•ᴥ•ʔ ( ͡° ͜ʖ ͡°)
:) :-( ;-) :D <3 xD ^_^ o_O
<|startoftext|>
<|endoftext|>
<|startoftext|>glasses<|endoftext|>
glasses<|endoftext|>smile
glasses <|endoftext|> smile
<|endoftext|><|endoftext|> <|startoftext|>
<|STARTOFTEXT|> <|EndOfText|>
<|endoftext |> <| endoftext|> <|endoftext
<|startoftext|<|endoftext|>>
|endoftext|> startoftext <|pad|> <|mask|>
<s> </s> <pad> <unk> [CLS] [SEP] [MASK] [PAD] [UNK]
</w> a</w> </w>a w> Ġ Ċ Ä ĠĠ ĳ
""".strip("\n").split("\n")

SPACES = [
    *"\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2002\u2003\u2009\u200a\u200b\u200c\u200d",
    *"\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\xad\u200e\u202e\u2066",
    "\r\n", "  ", " \t ", "\n\n\n",
]  # fmt: skip


@fixture(
    {
        "tokenizer.json": "`text` to 77 `ids` (cut and padded) by transformers' CLIPTokenizer",
        "tokenizer_pipeline.json": "the pipeline behind it, without vocabulary and merges",
    }
)
def tokenizer(base: Base):
    """For `tokenizer.rs`: every text gives exactly these ids."""
    texts = _texts(base)
    ids = [base.tokens([text])[0].tolist() for text in texts]
    # After the ids: their first use is what makes transformers set truncation and padding.
    pipeline = json.loads(base.tokenizer.backend_tokenizer.to_str())
    for data in ["vocab", "merges"]:
        del pipeline["model"][data]
    return {
        "tokenizer.json": Json([{"text": text, "ids": row} for text, row in zip(texts, ids)], lines=True),
        "tokenizer_pipeline.json": Json(pipeline),
    }


def _texts(base: Base) -> list[str]:
    choose = random.Random(77)
    captions = _captions(base)
    tags = [tag for group in TAGS.values() for tag in group.split("|")]
    made_up = [
        ", ".join(choose.choice(group.split("|")) for group in TAGS.values() if choose.random() < 0.7)
        for _ in range(100)
    ]
    forms = [unicodedata.normalize(form, text) for form in ["NFC", "NFD", "NFKD"] for text in PROMPTS]
    spaces = [text for space in SPACES for text in (space, f"glasses{space}smile", f"{space}a{space * 3}b{space}")]
    controls = [f"a{chr(code)}b" for code in [*range(0x20), *range(0x7F, 0xA0)]]
    long = [", ".join(choose.choices(tags, k=count)) for count in [15, 20, 24, 25, 26, 27, 28, 30, 40, 80, 200]]
    # Around the limit exactly: 74, 75 and 76 tokens between start and end.
    limit = ["a " * count for count in [1, 73, 74, 75, 76, 77, 150]] + ["😀" * 40, "!" * 300, "語" * 30, "1" * 90]
    scripts = [_random_text(choose, *span) for span in _SPANS for _ in range(6)]
    texts = ["", " ", *captions, *tags, *made_up, *PROMPTS, *forms, *spaces, *controls, *long, *limit, *scripts]
    return list(dict.fromkeys(texts))


_SPANS = [
    (0x20, 0x7F), (0x80, 0x250), (0x250, 0x530), (0x530, 0xE00), (0xE00, 0x2000), (0x2000, 0x2C00),
    (0x2C00, 0x3100), (0x3100, 0xD7B0), (0xF900, 0x10000), (0x10000, 0x1F000), (0x1F000, 0x1FB00),
    (0x20, 0x20000),
]  # fmt: skip


def _random_text(choose: random.Random, first: int, end: int) -> str:
    """Characters that Unicode assigns in a span, with some spaces; private use and surrogates left out."""
    text = ""
    while len(text) < 24:
        character = chr(choose.randrange(first, end))
        if unicodedata.category(character) not in {"Cn", "Cs", "Co"}:
            text += character + (" " if choose.random() < 0.15 else "")
    return text


def _captions(base: Base) -> list[str]:
    """The captions of the bundled pairs, A and B."""
    captions = []
    for path in sorted(base.pairs.glob("*/*.json")):
        pair = json.loads(path.read_text())
        captions += [pair["caption_A"], pair["caption_B"]]
    return captions

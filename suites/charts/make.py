"""Write cases.jsonl and draw its images: receipts, bar charts and small forms.

What is drawn, asked and right comes from a seed. The pixels depend on the versions of Pillow and
FreeType, so the images are kept beside the cases instead of being drawn where the suite is used:

    python -m tunegate.suites.charts.make
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
EACH = 40
"""Images of each kind."""
SHOPS = ("Corner Bakery", "Green Grocer", "Mill Street Deli", "Harbour Kiosk", "Old Town Market")
GOODS = (
    "Bread", "Butter", "Milk", "Eggs", "Apples", "Cheese", "Coffee", "Honey", "Rice", "Pasta",
    "Olives", "Tea", "Yoghurt", "Carrots", "Soap",
)  # fmt: skip
SERIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Visitors a day", ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat")),
    ("Parcels by city", ("Bonn", "Graz", "Lille", "Porto", "Turin")),
    ("Tickets by team", ("Red", "Blue", "Green", "Gold")),
    ("Rain in mm", ("Jan", "Mar", "May", "Jul", "Sep", "Nov")),
)
FIELDS = {
    "Order number": (10_000, 99_999),
    "Customer number": (1_000, 9_999),
    "Quantity": (2, 48),
    "Postcode": (10_000, 99_999),
    "Year of birth": (1950, 2005),
    "Room": (101, 499),
    "Weight in kg": (3, 95),
    "Extension": (200, 899),
}
NAMES = ("M. Lindqvist", "A. Okafor", "J. Moreau", "S. Tanaka", "P. Novak", "L. Costa")
FLAGS = ("Gift wrap", "Express", "Insured", "Call first")

Drawn = tuple[Any, str, str]
"""Image, question and answer."""


def main() -> None:
    """Write the file and the images."""
    (HERE / "images").mkdir(exist_ok=True)
    with (HERE / "cases.jsonl").open("w", encoding="utf-8") as file:
        for case, image in cases():
            # four shades of grey, two bits a pixel
            shades = image.quantize(4, dither=0)
            shades.save(HERE / f"images/{case['id']}.png", optimize=True, bits=2)
            file.write(json.dumps(case, ensure_ascii=False) + "\n")


def cases() -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield each case with its image."""
    for kind, draw in (("receipt", receipt), ("bars", bars), ("form", form)):
        for number in range(1, EACH + 1):
            name = f"{kind}-{number:02}"
            image, question, answer = draw(Random(name))
            parts = [
                {"type": "image_url", "image_url": {"url": f"images/{name}.png"}},
                {"type": "text", "text": question},
            ]
            turn = {"role": "user", "content": parts}
            yield {"id": name, "messages": [turn], "expected": answer, "tags": [kind]}, image


def receipt(draw: Random) -> Drawn:
    """Draw a receipt; ask for a price, the tax, the total or the change."""
    goods = {name: draw.randint(80, 1990) for name in draw.sample(GOODS, draw.randint(3, 5))}
    net = sum(goods.values())
    tax = round(net * 0.07)
    total = net + tax
    paid = (total // 1000 + draw.randint(1, 2)) * 1000
    sums = {"Subtotal": net, "Tax 7 %": tax, "TOTAL": total, "Cash": paid, "Change": paid - total}
    image, pen, font = _canvas(240, 96 + 20 * (len(goods) + len(sums)))
    pen.text((120, 18), draw.choice(SHOPS), fill=0, font=font(18), anchor="mm")
    pen.text((120, 40), f"{draw.randint(1, 28):02}.{draw.randint(1, 12):02}.2026", **_small(font))
    top = 62
    for rows in (goods, sums):
        for name, cents in rows.items():
            pen.text((16, top), name, fill=0, font=font(15))
            pen.text((224, top), _money(cents), fill=0, font=font(15), anchor="ra")
            top += 20
        pen.line((16, top + 4, 224, top + 4), fill=0)
        top += 10
    thing = draw.choice(list(goods))
    asked = {
        f"What is the price of {thing} on this receipt?": goods[thing],
        "How much is the tax on this receipt?": tax,
        "What is the total of this receipt?": total,
        "How much change was given?": paid - total,
    }
    question = draw.choice(list(asked))
    return image, question, _money(asked[question])


def bars(draw: Random) -> Drawn:
    """Draw bars between lines of a grid; ask for a value, the highest one or a difference."""
    title, names = draw.choice(SERIES)
    step = draw.choice((2, 10, 20))
    values = dict(zip(names, draw.sample(range(1, 11), len(names)), strict=True))
    values = {name: value * step // 2 for name, value in values.items()}
    image, pen, font = _canvas(320, 240)
    pen.text((170, 16), title, fill=0, font=font(17), anchor="mm")
    for line in range(6):
        y = 204 - line * 32
        pen.line((44, y, 308, y), fill=0 if line == 0 else 170)
        pen.text((38, y), str(line * step), fill=0, font=font(14), anchor="rm")
    width = 264 / len(values)
    for place, (name, value) in enumerate(values.items()):
        left = 44 + place * width
        pen.rectangle((left + 9, 204 - value * 32 / step, left + width - 9, 204), fill=85)
        pen.text((left + width / 2, 220), name, fill=0, font=font(14), anchor="mm")
    high, low = sorted(draw.sample(list(values), 2), key=values.__getitem__, reverse=True)
    asked = {
        f"What is the value of {low} in this chart?": values[low],
        "What is the highest value in this chart?": max(values.values()),
        f"By how much is {high} higher than {low} in this chart?": values[high] - values[low],
    }
    question = draw.choice(list(asked))
    return image, question, str(asked[question])


def form(draw: Random) -> Drawn:
    """Draw a form of five fields and four boxes; ask for a field, or for the ticked boxes."""
    fields = {name: str(draw.randint(*FIELDS[name])) for name in draw.sample(list(FIELDS), 4)}
    shown = {"Name": draw.choice(NAMES), **fields}
    ticked = [flag for flag in FLAGS if draw.random() < 0.5]
    image, pen, font = _canvas(300, 236)
    for row, (name, value) in enumerate(shown.items()):
        top = 12 + row * 30
        pen.text((12, top + 12), name, fill=0, font=font(14), anchor="lm")
        pen.rectangle((140, top, 288, top + 24), outline=85)
        pen.text((148, top + 12), value, fill=0, font=font(16), anchor="lm")
    for place, flag in enumerate(FLAGS):
        left, top = 14 + place % 2 * 140, 172 + place // 2 * 28
        pen.rectangle((left, top, left + 16, top + 16), outline=0)
        if flag in ticked:
            pen.line((left + 3, top + 3, left + 13, top + 13), fill=0, width=2)
            pen.line((left + 13, top + 3, left + 3, top + 13), fill=0, width=2)
        pen.text((left + 26, top + 8), flag, fill=0, font=font(14), anchor="lm")
    asked = {f"What is the {name.lower()} on this form?": value for name, value in fields.items()}
    asked["How many boxes are ticked on this form? Answer in digits."] = str(len(ticked))
    question = draw.choice(list(asked))
    return image, question, asked[question]


def _canvas(width: int, height: int) -> tuple[Any, Any, Any]:
    """Return a white image, its pen, and Pillow's own font by size."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (width, height), 255)
    return image, ImageDraw.Draw(image), ImageFont.load_default


def _small(font: Any) -> dict[str, Any]:
    return {"fill": 0, "font": font(13), "anchor": "mm"}


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


if __name__ == "__main__":
    main()

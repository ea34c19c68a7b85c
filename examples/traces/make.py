"""Writes shop.jsonl: a morning of a shop's support assistant, as its OpenTelemetry would hold it.

Everything is invented, people and addresses too. The spans follow the GenAI conventions; a trace is
a line. Two calls cannot be replayed (one shows a photograph, one was recorded without its content),
and one question is asked twice.

    python examples/traces/make.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

SYSTEM = (
    "You are the support assistant of Lindenhof Outdoor. Answer in at most two short, polite "
    "sentences. If you do not know, say so."
)
MODEL = "shop-assistant-2"
BEGAN = 1_795_507_200  # 24 November 2026, 8:00 UTC
QUESTIONS = [
    ("/chat/orders", "Where is my parcel? The order number is LO-48211.",
     "Your parcel LO-48211 left our warehouse yesterday and should arrive by Thursday."),
    ("/chat/orders", "Can I still change the delivery address of order LO-48377?",
     "Yes, as long as the order is not packed. Please open it in your account and choose Edit."),
    ("/chat/orders", "I was charged twice for one tent. Write to mira.falk@example.org, please.",
     "I am sorry about that. We will check the payment and write to mira.falk@example.org today."),
    ("/chat/orders", "How long does shipping to Austria take?",
     "Parcels to Austria take three to four working days."),
    ("/chat/orders", "Do you ship to Norway, and who pays the customs?",
     "We do ship to Norway. Customs are paid by the customer when the parcel arrives."),
    ("/chat/orders", "My parcel says delivered, but nothing is here. Call me on +49 30 901820.",
     "I am sorry to hear that. We will ask the carrier and call you on +49 30 901820."),
    ("/chat/orders", "Can I pick the order up in your shop?",
     "Yes. Please choose Collect in store at the checkout; it is ready within two hours."),
    ("/chat/orders", "How long does shipping to Austria take?",
     "It usually takes three to four working days."),
    ("/chat/orders", "Please cancel order LO-48402, I ordered the wrong size.",
     "Order LO-48402 is cancelled, and the money will be back within three days."),
    ("/chat/orders", "Is there a way to pay by invoice?",
     "Yes, invoices are offered for orders under 500 euros after a credit check."),
    ("/chat/returns", "How many days do I have to send boots back?",
     "You have 30 days from the day the boots arrive."),
    ("/chat/returns", "The zip of my jacket broke after two weeks. What now?",
     "I am sorry. Please send it back with the label from your account; we repair or replace it."),
    ("/chat/returns", "Do I have to keep the box for a return?",
     "No, any sturdy box will do. Please put the return slip inside."),
    ("/chat/returns", "When will I get my money back? IBAN DE89 3704 0044 0532 0130 00.",
     "Within five working days after the parcel has reached us, to the account you paid from."),
    ("/chat/returns", "Can I exchange a sleeping bag for a longer one?",
     "Yes. Please order the longer one and send the other back; the return is free."),
    ("/chat/returns", "I washed the rucksack, can I still return it?",
     "I am afraid we can only take back things that were not used or washed."),
    ("/chat/returns", "My return was refused and I want to know why. I am Jonas Brandt.",
     "I cannot see the reason here. A colleague will look into it and write to you tomorrow."),
    ("/chat/products", "Which stove works in frost?",
     "A petrol stove works best in frost, since gas cartridges lose pressure in the cold."),
    ("/chat/products", "Is the Almsee tent big enough for three people and a dog?",
     "The Almsee has room for three people; with a dog the Karwendel would be more comfortable."),
    ("/chat/products", "How warm is the Firn sleeping bag?",
     "Its comfort temperature is minus two degrees Celsius."),
    ("/chat/products", "Are your down jackets made without live plucking?",
     "Yes, all our down is certified by the Responsible Down Standard."),
    ("/chat/products", "How do I make my old rain jacket waterproof again?",
     "Wash it with a cleaner for membranes, spray it, and dry it at low heat."),
    ("/chat/products", "What does a litre of the Gletscher bottle weigh when it is full?",
     "The bottle weighs 180 grams, so about 1.2 kilograms when it is full."),
    ("/chat/products", "Do you have children's climbing harnesses?",
     "Yes, for children from three years on, in two sizes."),
]  # fmt: skip
TOOL = {
    "type": "function",
    "name": "order_status",
    "description": "Look up where an order is.",
    "parameters": {
        "type": "object",
        "properties": {"order": {"type": "string"}},
        "required": ["order"],
    },
}
AGENT = [
    ("LO-48211", "in transit, expected on Thursday"),
    ("LO-48377", "packed this morning"),
    ("LO-48390", "waiting for payment"),
]


def main() -> None:
    """Write the file."""
    path = Path(__file__).with_name("shop.jsonl")
    lines = [json.dumps(trace, ensure_ascii=False) for trace in traces()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def traces() -> Iterator[dict[str, Any]]:
    """Yield each trace as TracesData."""
    for number, (route, question, answer) in enumerate(QUESTIONS):
        yield trace(number, route, [call([said("user", question)], said("assistant", answer))])
    for number, (order, status) in enumerate(AGENT, start=len(QUESTIONS)):
        yield trace(number, "/agent/orders", list(agent(order, status)))
    photo = {"type": "blob", "modality": "image", "mime_type": "image/jpeg", "content": "/9j/4AAQ"}
    asked = {"role": "user", "parts": [text("What is wrong with this buckle?"), photo]}
    answer = said("assistant", "The buckle is broken at the hinge; please send it back.")
    yield trace(90, "/chat/returns", [call([asked], answer)])
    yield trace(91, "/chat/returns", [{"gen_ai.usage.input_tokens": 61}])


def agent(order: str, status: str) -> Iterator[dict[str, Any]]:
    """Yield the two calls of an agent: it asks for a tool, then answers with what it said."""
    question = said("user", f"What is the state of order {order}?")
    made = {"type": "tool_call", "id": f"call_{order}", "name": "order_status",
            "arguments": {"order": order}}  # fmt: skip
    wanted = {"role": "assistant", "parts": [made], "finish_reason": "tool_call"}
    yield call([question], wanted, tools=[TOOL])
    found = {"type": "tool_call_response", "id": f"call_{order}", "response": status}
    told = said("assistant", f"Order {order} is {status}.")
    yield call([question, wanted, {"role": "tool", "parts": [found]}], told, tools=[TOOL])


def call(
    asked: list[dict[str, Any]], answer: dict[str, Any], tools: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the attributes that are a call's own."""
    size = len(json.dumps([asked, tools])) // 4, len(json.dumps(answer["parts"])) // 4
    finish = answer.get("finish_reason", "stop")
    return {
        "gen_ai.system_instructions": json.dumps([text(SYSTEM)]),
        "gen_ai.input.messages": json.dumps(asked, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps([{"finish_reason": finish, **answer}]),
        **({"gen_ai.tool.definitions": json.dumps(tools)} if tools else {}),
        "gen_ai.response.finish_reasons": [finish],
        "gen_ai.usage.input_tokens": size[0],
        "gen_ai.usage.output_tokens": size[1],
    }


def trace(number: int, route: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a trace with a span for each call."""
    trace_id = sha256(f"trace {number}".encode()).hexdigest()[:32]
    spans = []
    for at, own in enumerate(calls):
        start = (BEGAN + 437 * number + 3 * at) * 1_000_000_000
        took = 350_000_000 + 9_000_000 * own.get("gen_ai.usage.output_tokens", 0)
        usual = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 96,
            "gen_ai.request.temperature": 0.2,
            "http.route": route,
        }
        spans.append(
            {
                "traceId": trace_id,
                "spanId": sha256(f"span {number} {at}".encode()).hexdigest()[:16],
                "name": f"chat {MODEL}",
                "kind": 3,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + took),
                "attributes": [attribute(*pair) for pair in (usual | own).items()],
            }
        )
    service = attribute("service.name", "lindenhof-support")
    scope = {"name": "lindenhof.assistant", "version": "2.4"}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [service]},
                "scopeSpans": [{"scope": scope, "spans": spans}],
            }
        ]
    }


def attribute(key: str, value: Any) -> dict[str, Any]:
    """Return an attribute of OTLP."""
    if isinstance(value, list):
        typed: Any = {"arrayValue": {"values": [{"stringValue": one} for one in value]}}
    elif isinstance(value, int):
        typed = {"intValue": str(value)}
    else:
        typed = {"doubleValue" if isinstance(value, float) else "stringValue": value}
    return {"key": key, "value": typed}


def said(role: str, content: str) -> dict[str, Any]:
    """Return a message of one text."""
    return {"role": role, "parts": [text(content)]}


def text(content: str) -> dict[str, Any]:
    """Return a part of a message."""
    return {"type": "text", "content": content}


if __name__ == "__main__":
    main()

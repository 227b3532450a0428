"""Stands between clairvoyance and a gateway, and says in graphql-js' words what the gateway says in its own: clairvoyance knows
no others, and would learn nothing from any suggestion.

translate.py GATEWAY PORT_FILE [TOKEN]
"""

import asyncio
import re
import sys

from aiohttp import ClientSession, web

WORDS = [
    (re.compile(r'Unknown field "(\w+)" on type "(\w+)"\.?'), r'Cannot query field "\1" on type "\2".'),
    (re.compile(r'(must have a selection of subfields)\.?$'), r'\1. Did you mean "x { ... }"?'),
    (re.compile(r'(has no subfields)\.?$'), r"\1."),
    (re.compile(r'(Unknown argument "\w+" on field "\w+")(?: of type "\w+")?\.?'), r"\1."),
]
gateway, port_file, token = [*sys.argv[1:], None][:3]
headers = {"authorization": f"Bearer {token}"} if token else {}


def translated(message):
    for ours, theirs in WORDS:
        message = ours.sub(theirs, message)
    return message


async def answer(request):
    async with ClientSession(trust_env=False) as session:
        async with session.post(gateway, json=await request.json(), headers=headers) as response:
            told = await response.json(content_type=None)
    for error in told.get("errors", []):
        error["message"] = translated(error["message"])
    return web.json_response(told)


async def main():
    app = web.Application()
    app.router.add_post("/graphql", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with open(port_file, "w", encoding="ascii") as file:
        file.write(str(runner.addresses[0][1]) + "\n")
    await asyncio.Event().wait()


asyncio.run(main())

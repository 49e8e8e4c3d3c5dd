"""A local DPS on the ports that the official SDKs insist on, and devices that use them.

Run as a program inside a network namespace. Standard input is JSON: state folder, enrollments,
faults, and batches, each a command and its cases. Batches run one after the other; before one
that says ``"bare"`` all enrollments are taken back. Prints what each printed.
"""

import asyncio
import json
import os
import sys
from typing import Any

from mqttws import AsyncLocalDps
from mqttws.dps.tables import GROUPS, INDIVIDUALS

ID_SCOPE = "0ne00SDKTEST"
DEADLINE = 100.0


async def run(dps: AsyncLocalDps, batch: dict[str, Any]) -> Any:
    order = {"id_scope": ID_SCOPE, "ca_file": str(dps.ca_file), "cases": batch["cases"]}
    process = await asyncio.create_subprocess_exec(
        *batch["command"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(dps.ca_file)} | batch.get("env", {}),
    )
    try:
        out, _ = await asyncio.wait_for(
            process.communicate(json.dumps(order).encode()), timeout=DEADLINE
        )
    except TimeoutError:
        process.kill()
        raise
    return json.loads(out)


async def main() -> None:
    order = json.load(sys.stdin)
    results = []
    async with AsyncLocalDps(
        host="localhost",
        wss_port=443,
        mqtts_port=8883,
        state=order["state"],
        id_scope=ID_SCOPE,
        retry_after=1,
        records=order.get("records"),
    ) as dps:
        for record in order["enrollments"]:
            await dps.enroll(record)
        for fault in order["faults"]:
            await dps.fault(**fault)
        for batch in order["batches"]:
            if batch.get("bare"):
                for table in (INDIVIDUALS, GROUPS):
                    for _, row in (await dps.store.page(table)).items:
                        await dps.enrollments.remove(row.value, row)
            results.append(await run(dps, batch))
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main())

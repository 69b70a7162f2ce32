"""Verifies signatures of caa with programs of others: securesystemslib (DSSE, Ed25519) and in-toto-attestation
(statements, SLSA provenance), in an environment of this script's own. Needs a package index.

    python scripts/check_signatures.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import caa_registry as caa
from caa_registry.registry.maintenance.signing.keys import new_key

PACKAGES = ("securesystemslib==1.6.0", "in-toto-attestation==0.9.3", "cryptography")

# Runs there. Parsing is strict: a field that the protocol does not have is an error.
ORACLE = """
import base64, copy, json, sys
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

for case in json.load(sys.stdin):
    envelope = case["envelope"]
    key = SSlibKey(envelope["signatures"][0]["keyid"], "ed25519", "ed25519", {"public": case["key"]})
    assert list(Envelope.from_dict(copy.deepcopy(envelope)).verify([key], 1)) == [key.keyid]
    payload = base64.b64decode(envelope["payload"])
    statement = json_format.Parse(payload, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    predicate = json.loads(payload)["predicate"]
    if statement.predicate_type.startswith("https://slsa.dev/"):
        json_format.ParseDict(predicate, provenance_pb2.Provenance())
    envelope["payload"] = base64.b64encode(payload.replace(b"subject", b"subjecT")).decode()
    try:
        Envelope.from_dict(envelope).verify([key], 1)
    except VerificationError:
        print("agreed:", case["reference"], statement.predicate_type)
    else:
        sys.exit("an edited payload was verified")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = _signed(folder)
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        subprocess.run([python, "-c", ORACLE], input=json.dumps(cases), text=True, check=True)
    print(f"{len(cases)} signatures, 0 disagreements")


def _signed(folder: Path) -> list[dict[str, object]]:
    """A dataset, a vector, an evaluation and an alias, signed."""
    key = folder / "key.pem"
    public = new_key(key)
    with caa.open(str(folder / "registry.db")) as registry:
        pairs = registry.datasets.import_("seed:sycophancy", name="team/sycophancy")
        vector = registry.vectors.compute("team/sycophancy", dataset=pairs, model="demo")
        registry.evaluations.propensity(vector, split="test", model="demo", layers=[2])
        registry.aliases.set(f"vector:{vector.reference}", "best", caa.Recommendation((2,), 1.5))
        references = [f"dataset:{pairs.reference}", f"vector:{vector.reference}", "evaluation:1"]
        return [
            {"reference": each, "envelope": dict(registry.sign(each, key).envelope), "key": public.raw.hex()}
            for each in [*references, f"vector:{vector.name}:best"]
        ]


if __name__ == "__main__":
    sys.exit(main())

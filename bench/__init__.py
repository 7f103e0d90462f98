"""How fast, and where the time goes: our own benchmark (`python -m bench`) and the comparison with peers (`bench/peers`)."""

import sys
from pathlib import Path

# The comparison's modules find each other by plain names, because adapters of other projects may stand beside them.
sys.path.insert(0, str(Path(__file__).parent / "peers"))

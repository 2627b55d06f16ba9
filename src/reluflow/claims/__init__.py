"""The papers' claims, each measured: what is said, what came out, and what must make it fail."""

from ._catalogue import CATALOGUE as CATALOGUE
from ._claim import EXTRAS as EXTRAS
from ._claim import Claim as Claim
from ._claim import Outcome as Outcome
from ._claim import check as check
from ._finding import Finding as Finding
from ._finding import Verdict as Verdict

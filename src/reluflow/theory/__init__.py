"""What the papers prove, as functions."""

from ._jumps import limit_process as limit_process
from ._limit_process import LimitProcess as LimitProcess
from ._minimal_norm import minimal_squared_norm as minimal_squared_norm

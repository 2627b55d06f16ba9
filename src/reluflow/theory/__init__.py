"""What the papers prove, as functions: what they predict, without integrating."""

from ._alignment import D_minus as D_minus
from ._alignment import D_plus as D_plus
from ._alignment import S_minus_1 as S_minus_1
from ._alignment import S_plus_1 as S_plus_1
from ._assumptions import Assumption as Assumption
from ._assumptions import Assumptions as Assumptions
from ._assumptions import assumptions as assumptions
from ._jumps import limit_process as limit_process
from ._kernel import KernelFlow as KernelFlow
from ._kernel import kernel_flow as kernel_flow
from ._kernel import neural_tangent_kernel as neural_tangent_kernel
from ._limit_process import LimitProcess as LimitProcess
from ._logistic import logistic_law as logistic_law
from ._minimal_norm import minimal_norm_network as minimal_norm_network
from ._minimal_norm import minimal_squared_norm as minimal_squared_norm
from ._minimal_norm import minimal_variation_norm as minimal_variation_norm
from ._phases import Phases as Phases
from ._phases import largest_epsilon as largest_epsilon
from ._phases import phases as phases
from ._polyak_lojasiewicz import pl_constant as pl_constant
from ._polyak_lojasiewicz import pl_lemma_5 as pl_lemma_5
from ._polyak_lojasiewicz import pl_lower_bound as pl_lower_bound
from ._polyak_lojasiewicz import pl_ratio as pl_ratio
from ._union_bound import UnionBound as UnionBound
from ._union_bound import union_bound as union_bound

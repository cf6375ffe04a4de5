"""`MEASURES`: the measures of generalization by name, a literal dictionary. It is read without importing torch.

Formulas: θ: trainable scalars, θ⁰ before training, P of them. W_l: weights of the L linear layers and convolutions, W_l⁰ before training;
‖·‖: norm of the operator, ‖·‖_F: of the array. z: logits of the n training examples, k classes; y: the labels that were trained on; ℓ:
cross-entropy in nats; γ_i: the label's logit minus the largest other one, γ: their tenth percentile. φ: input of the last linear layer.
g_i: gradient of ℓ_i in θ, ḡ: their mean; C: mean of g_i g_iᵀ. H: Hessian of the mean of ℓ; G: the Fisher matrix. K: tangent kernel of n_G
examples, K_c: centred; Ỹ: their centred one-hot labels. p: probabilities.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from shattering.brief import Brief
from shattering.errors import InputError, a_type

if TYPE_CHECKING:
    from shattering.measures.fitted import Fitted


@dataclass(frozen=True, repr=False)
class Measure(Brief):
    """A measure of generalization: called with a `Fitted`, it returns a number; the larger, the worse the network should generalize.

    Args:
        at: "module:function" within `shattering.measures`.
        formula: what it computes, as the source has it; with the sign "-" the function returns the negative of it.
        source: the paper; and its equation where it could be looked up, as those of Jiang et al. in the code of Dziugaite et al. 2020.
        needs: what it reads: W weights, W0 initial weights, X training inputs, Y training labels, g gradients per example, Hv products
            with the Hessian, T the history of the training, Q further training steps, R other runs, U unlabelled inputs.
        cost: E: an evaluation of the training set, B: its gradient (about 3 E), P: a pass over the parameters, product: with the
            Hessian (2 to 3 B). "nP of convolutions" is what gradients per example take in convolutions and layers of other kinds, where
            they are written out, n gradients of P numbers; linear layers need no more than B. Measured: docs/benchmarks.md.
        sign: "+", or "-" for a quantity that is larger where a network should generalize better.
        invariance: f: depends on the logits as a function of inputs alone; r: unchanged by rescaling consecutive layers of a ReLU
            network; s: unchanged if all logits are multiplied by a number above 0; fs, rs: both of them; 0: none.
        version: of the function; it rises when the same network gets another value.

    Example:
        >>> MEASURES["n_parameters"].source
        'Jiang et al. 2020, eq. 20'
    """

    at: str
    formula: str
    source: str
    needs: str
    cost: str
    sign: Literal["+", "-"] = "+"
    invariance: Literal["0", "f", "fs", "r", "s", "rs"] = "0"
    version: int = 1

    def __call__(self, fitted: "Fitted") -> float:
        """Return the value for a network. Raises `NotComputable`, with the reason, where there is none; InputError for no `Fitted`."""
        from shattering.measures.fitted import Fitted

        if not isinstance(fitted, Fitted):
            raise InputError(f"fitted is {a_type(fitted)}, expected a Fitted, as as_fitted(model, data) makes one; measure takes models")
        module, _, function = self.at.partition(":")
        return getattr(import_module(f"shattering.measures.{module}"), function)(fitted)


MEASURES: dict[str, Measure] = {
    # size and effort
    "n_parameters": Measure("size:n_parameters", "P", "Jiang et al. 2020, eq. 20", "W", "1", invariance="r"),
    "vc_dimension": Measure("size:vc_dimension", "P L log2 P", "Bartlett et al. 2019", "W", "1", invariance="r"),
    "steps": Measure("size:steps", "log of the steps until the mean of ℓ is 0.01", "Jiang et al. 2020", "T", "1"),
    "training_loss_area": Measure(
        "size:training_loss_area", "sum over epochs of the online loss", "Lyle et al. 2020; Ru et al. 2021", "T", "1", invariance="f"
    ),
    # sharpness and curvature
    "hessian_top": Measure(
        "curvature:hessian_top", "largest eigenvalue of H", "Keskar et al. 2017; Ghorbani et al. 2019", "Hv", "about 15 products", version=2
    ),
    "hessian_trace": Measure("curvature:hessian_trace", "tr H", "Yao et al. 2020", "g Hv", "k B, and 0 or about 100 products", version=4),
    "fisher_trace": Measure("curvature:fisher_trace", "tr G", "Karakida et al. 2019; Liang et al. 2019", "g", "k B + knP of convolutions"),
    "sam_sharpness": Measure(
        "sharpness:sam_sharpness",
        "maximum of L(θ + u) - L(θ) over ‖u‖ ≤ 0.05, L: mean of ℓ",
        "Foret et al. 2021",
        "X Y",
        "up to 20 B",
        version=2,
    ),
    "adaptive_sharpness": Measure(
        "sharpness:adaptive_sharpness",
        "maximum of L(θ + u) - L(θ) over |u_j| ≤ 0.01 |θ_j|",
        "Kwon et al. 2021; Andriushchenko et al. 2023",
        "X Y",
        "up to 20 B",
        invariance="r",
        version=2,
    ),
    "adaptive_average_sharpness": Measure(
        "sharpness:adaptive_average_sharpness",
        "mean of L(θ + u) - L(θ) for u_j ~ N(0, (0.1 θ_j)²)",
        "Andriushchenko et al. 2023",
        "X Y",
        "32 E",
        invariance="r",
        version=2,
    ),
    "weighted_trace": Measure(
        "curvature:weighted_trace",
        "sum over j of θ_j² H_jj",
        "Andriushchenko et al. 2023",
        "g Hv",
        "k B, and 0 or about 100 products",
        invariance="r",
        version=4,
    ),
    "relative_flatness": Measure(
        "curvature:relative_flatness",
        "sum over a, b of ⟨w_a, w_b⟩ tr H_ab, w: rows of the last layer",
        "Petzka et al. 2021",
        "W X",
        "E",
        invariance="r",
    ),
    "takeuchi": Measure("curvature:takeuchi", "tr C / tr G", "Takeuchi 1976; Thomas et al. 2020", "g", "k B + knP of convolutions"),
    "local_learning_coefficient": Measure(
        "learning_coefficient:local_learning_coefficient",
        "nβ (E[L(w)] - L(θ)), w from the posterior around θ, nβ = n / log n",
        "Lau et al. 2025",
        "X Y Hv",
        "400 to 800 steps of 64 examples",
        version=2,
    ),
    # gradients of single examples
    "gradient_variance": Measure("gradients:gradient_variance", "tr C - ‖ḡ‖²", "Jiang et al. 2020", "g", "B + nP of convolutions"),
    "gradient_coherence": Measure(
        "gradients:gradient_coherence", "‖ḡ‖² / tr C", "Chatterjee & Zielinski 2020, over n", "g", "B + nP of convolutions", "-"
    ),
    "gradient_snr": Measure(
        "gradients:gradient_snr",
        "mean over j of ḡ_j² / Var_i(g_ij)",
        "Liu et al. 2020",
        "g",
        "B + nP of convolutions",
        "-",
        invariance="r",
    ),
    # tangent kernel
    "label_complexity": Measure(
        "tangent:label_complexity", "√(2 tr Ỹᵀ(K + εI)⁻¹Ỹ / n_G)", "Arora et al. 2019", "g Y", "B + nP of convolutions", version=2
    ),
    "kernel_alignment": Measure(
        "tangent:kernel_alignment",
        "⟨K_c, ỸỸᵀ⟩ / ‖K_c‖‖ỸỸᵀ‖",
        "Cortes et al. 2012; Baratin et al. 2021",
        "g Y",
        "B + nP of convolutions",
        "-",
        invariance="s",
        version=2,
    ),
    # norms
    "parameter_norm": Measure("norms:parameter_norm", "sum_l ‖W_l‖_F²", "Jiang et al. 2020, eq. 42", "W", "P"),
    "distance": Measure("norms:distance", "sum_l ‖W_l − W_l⁰‖_F²", "Jiang et al. 2020, eq. 40; Nagarajan & Kolter 2019", "W W0", "P"),
    "angular_distance": Measure(
        "norms:angular_distance", "distance of weights scaled to norm 1", "this package, after distance", "W W0", "P", invariance="r"
    ),
    "log_frobenius_product": Measure(
        "norms:log_frobenius_product", "sum_l log ‖W_l‖_F²", "Jiang et al. 2020, eq. 37; Neyshabur et al. 2015", "W", "P", "+", "r", 2
    ),
    "log_spectral_product": Measure(
        "norms:log_spectral_product", "sum_l log ‖W_l‖²", "Jiang et al. 2020, eq. 32", "W", "a spectral norm per layer", "+", "r", 2
    ),
    "stable_rank": Measure(
        "norms:stable_rank", "sum_l ‖W_l‖_F²/‖W_l‖²", "Jiang et al. 2020, eq. 33", "W", "a spectral norm per layer", invariance="r"
    ),
    "log_path_norm": Measure(
        "norms:log_path_norm",
        "log of the sum over paths of the product of squared weights",
        "Neyshabur et al. 2015; Jiang et al. 2020, eq. 44; Gonon et al. 2024",
        "W",
        "an example's evaluation",
        invariance="r",
    ),
    "fisher_rao": Measure("norms:fisher_rao", "(1/n) sum_i ⟨∇ℓ_i, θ⟩²", "Liang et al. 2019", "g", "2 E", invariance="r"),
    # PAC-Bayes and code length; σ: noise of the parameters that raises the training error by 0.1
    "pac_bayes_distance": Measure(
        "pac_bayes:pac_bayes_distance",
        "‖θ − θ⁰‖²/4σ² + log(n/σ) + 10",
        "Jiang et al. 2020, eq. 48",
        "W W0 X Y",
        "about 100 E",
        version=2,
    ),
    "pac_bayes_norm": Measure(
        "pac_bayes:pac_bayes_norm",
        "‖θ‖²/4σ² + log(n/σ) + 10",
        "Jiang et al. 2020, eq. 49",
        "W X Y",
        "shared with pac_bayes_distance",
        version=2,
    ),
    "pac_bayes_flatness": Measure(
        "pac_bayes:pac_bayes_flatness", "1/σ²", "Jiang et al. 2020, eq. 53", "X Y", "shared with pac_bayes_distance", version=2
    ),
    "pac_bayes_relative_flatness": Measure(
        "pac_bayes:pac_bayes_relative_flatness",
        "1/σ'², noise relative to θ",
        "Jiang et al. 2020, eq. 61",
        "X Y",
        "about 100 E",
        version=3,
    ),
    "code_length": Measure(
        "pac_bayes:code_length", "bits of θ − θ⁰ at the fewest levels", "Zhou et al. 2019; Lotfi et al. 2022", "W W0 X Y", "about 20 E"
    ),
    "ratt": Measure("pac_bayes:ratt", "min over epochs of err_kept + (k − 1) − k err_redrawn", "Garg et al. 2021", "T", "1"),
    # spectra of weights
    "tail_exponent": Measure(
        "spectra:tail_exponent", "α: tail of the spectrum of WᵀW", "Martin & Mahoney 2021; Clauset et al. 2009", "W", "SVD", invariance="r"
    ),
    "weighted_exponent": Measure("spectra:weighted_exponent", "α log10 λ_max", "Martin, Peng & Mahoney 2021", "W", "SVD"),
    # margins
    "inverse_margin": Measure("margins:inverse_margin", "1/γ², ∞ for γ ≤ 0", "Jiang et al. 2020, eq. 22", "X Y", "E", invariance="f"),
    "spectral_over_margin": Measure(
        "margins:spectral_over_margin", "sum_l log ‖W_l‖² − 2 log γ", "Jiang et al. 2020, eq. 31", "W X Y", "E", invariance="rs", version=2
    ),
    "frobenius_over_margin": Measure(
        "margins:frobenius_over_margin", "sum_l log ‖W_l‖_F² − 2 log γ", "Jiang et al. 2020, eq. 36", "W X Y", "E", "+", "rs", 2
    ),
    "spectral_init_main": Measure(
        "margins:spectral_init_main",
        "spectral_over_margin + log sum_l ‖W_l − W_l⁰‖_F²/‖W_l‖²",
        "Jiang et al. 2020, eq. 29; Neyshabur et al. 2018",
        "W W0 X Y",
        "E",
        invariance="s",
        version=2,
    ),
    "spectral_complexity": Measure(
        "margins:spectral_complexity",
        "log(R‖X‖_F/(nγ)), R = prod ‖W_l‖ (sum_l (‖(W_l − W_l⁰)ᵀ‖_{2,1}/‖W_l‖)^(2/3))^(3/2)",
        "Bartlett et al. 2017",
        "W W0 X Y",
        "E",
        invariance="s",
        version=3,
    ),
    "path_norm_over_margin": Measure(
        "margins:path_norm_over_margin", "log path norm − 2 log γ", "Jiang et al. 2020, eq. 43", "W X Y", "E", invariance="rs"
    ),
    "input_margin": Measure(
        "margins:input_margin", "median_i γ_i/‖∇_x(z_y − z_j)‖", "Elsayed et al. 2018; Jiang et al. 2019", "X Y", "B", "-", "fs"
    ),
    "hidden_margin": Measure(
        "margins:hidden_margin", "quartiles of γ_i/‖∇_h(z_y − z_j)‖ over √tr Cov h", "Jiang et al. 2019", "X Y", "B", "-", "rs"
    ),
    "optimal_transport_margin": Measure(
        "margins:optimal_transport_margin",
        "median_i γ_i/(max ‖w_a − w_b‖ sum_c (n_c/n) W1 between halves of class c)",
        "Chuang et al. 2021",
        "X Y",
        "E + sum_c n_c³ (n_c ≤ 250)",
        "-",
        "rs",
    ),
    # representation
    "davies_bouldin": Measure(
        "representation:davies_bouldin",
        "mean over c of max over c' of (s_c + s_c') / ‖μ_c - μ_c'‖, first hidden layer",
        "Natekar & Sharma 2020",
        "X Y",
        "2 E",
        invariance="r",
    ),
    "mixup_error": Measure(
        "representation:mixup_error",
        "share of (x + x')/2 of one class not predicted as it",
        "Natekar & Sharma 2020",
        "X Y",
        "at most 10 E",
        invariance="fs",
    ),
    "clustering_times_mixup": Measure(
        "representation:clustering_times_mixup",
        "davies_bouldin times mixup_error",
        "Natekar & Sharma 2020",
        "X Y",
        "shared",
        invariance="r",
    ),
    "class_distance_variance": Measure(
        "representation:class_distance_variance",
        "mean over c ≠ c' of (v_c + v_c') / 2‖μ_c - μ_c'‖², in φ",
        "Galanti et al. 2022; Papyan et al. 2020",
        "X Y",
        "E",
        invariance="r",
    ),
    "effective_rank": Measure(
        "representation:effective_rank",
        "exp of the entropy of the eigenvalues of φ's covariance",
        "Roy & Vetterli 2007",
        "X",
        "E",
        invariance="r",
    ),
    "intrinsic_dimension": Measure(
        "representation:intrinsic_dimension",
        "slope of -log(1 - F(μ)) on log μ, μ: second over first neighbour's distance of φ",
        "Facco et al. 2017; Ansuini et al. 2019",
        "X",
        "E + n²",
        invariance="r",
        version=2,
    ),
    "ablation_area": Measure(
        "representation:ablation_area",
        "1 - area under the accuracy against the share of units of φ set to their means",
        "Morcos et al. 2018",
        "X Y",
        "E + 200 of the last layer",
        invariance="r",
    ),
    "seed_dissimilarity": Measure(
        "representation:seed_dissimilarity",
        "1 - linear CKA of φ on U between two seeds",
        "Kornblith et al. 2019",
        "R U",
        "2 E",
        invariance="r",
        version=2,
    ),
    # sensitivity
    "jacobian_norm": Measure("sensitivity:jacobian_norm", "mean of ‖∂p/∂x‖_F over U", "Novak et al. 2018", "U", "k B", invariance="f"),
    "geometric_complexity": Measure(
        "sensitivity:geometric_complexity", "mean of ‖∂z/∂x‖_F²", "Dherin et al. 2022", "X", "k B", invariance="f"
    ),
    "critical_sample_ratio": Measure(
        "sensitivity:critical_sample_ratio",
        "share of U whose class changes for some u, |u_j| ≤ r",
        "Arpit et al. 2017",
        "U",
        "10 B",
        invariance="fs",
    ),
    "noise_sensitivity": Measure(
        "sensitivity:noise_sensitivity",
        "max over l of the mean of ‖f_{>l}(h_l + η‖h_l‖/√dim) - z‖² / ‖z‖²",
        "Arora et al. 2018",
        "X",
        "10 L E",
        invariance="rs",
    ),
    # history, other runs, unlabelled examples
    "forgetting": Measure("outcomes:forgetting", "mean number of forgetting events", "Toneva et al. 2019", "T", "1", invariance="fs"),
    "susceptibility": Measure(
        "outcomes:susceptibility",
        "mean over 10 batches of U with random labels of ℓ before - ℓ after one step",
        "Forouzesh et al. 2023",
        "U",
        "20 batches",
    ),
    "signal_noise_fit": Measure(
        "outcomes:signal_noise_fit",
        "(L/L⁰) over that of the twin with random labels, L: mean of ℓ",
        "Teng et al. 2023",
        "R T",
        "E",
        invariance="f",
    ),
    "disagreement": Measure(
        "outcomes:disagreement",
        "share of U on which two seeds differ",
        "Nakkiran & Bansal 2020; Jiang et al. 2022",
        "R U",
        "E",
        invariance="fs",
        version=2,
    ),
    "average_confidence": Measure(
        "outcomes:average_confidence",
        "mean over U of max_c p_c",
        "Hendrycks & Gimpel 2017; Guillory et al. 2021",
        "U",
        "E",
        "-",
        invariance="f",
    ),
    "thresholded_confidence": Measure(
        "outcomes:thresholded_confidence",
        "share of U above the confidence below which as many labelled examples lie as are misclassified",
        "Garg et al. 2022",
        "U Y",
        "E",
        "-",
        invariance="f",
    ),
    "nuclear_norm": Measure("outcomes:nuclear_norm", "‖P_U‖_* / √(n_U min(n_U, k))", "Deng et al. 2023", "U", "E", "-", invariance="f"),
}

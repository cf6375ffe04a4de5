"""How much a learner can fit: Rademacher complexity, a bound on VC dimension, uniform stability (ICLR 2017, section 2.2)."""

//! A native participant: the participant core with native effects.

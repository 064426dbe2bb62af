//! The participant core as one WASM module with a plain bytes ABI.

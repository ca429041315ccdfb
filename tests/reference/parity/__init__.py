"""The fixtures, one module per Rust test of the same name in `tests/parity`."""

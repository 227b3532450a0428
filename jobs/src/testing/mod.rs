//! Real registries for integration tests.

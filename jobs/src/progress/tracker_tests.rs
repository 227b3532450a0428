use std::time::Duration;

use proptest::prelude::*;

use super::*;

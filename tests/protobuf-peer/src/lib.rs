//! Nothing: the comparison is the test.

// SPDX-License-Identifier: MIT
// The counter, once for all files of this program.
#include "support/counting_new.cpp"  // NOLINT(bugprone-suspicious-include)

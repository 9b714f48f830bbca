// SPDX-License-Identifier: MIT
#pragma once

const char* other_abi();
float other_last(float* numbers, int rows, int columns);

// All weight types.
#pragma once

#include "fours.cuh"
#include "iquants.cuh"
#include "kquants.cuh"
#include "legacy.cuh"

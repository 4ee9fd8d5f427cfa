// Turned heads: files carry the keys that attention takes from latents either as they multiply the latent or
// turned round, as absorbed queries want them. Both are needed.
#pragma once

#include "base/memory.h"
#include "machine/pool.h"
#include "weights/tensor.h"

namespace ktd {

// Room for every matrix of the stack with rows and columns exchanged. Floats stay what they are; quantised
// weights become Q8_0, or F16 where their columns are not whole blocks.
Memory turned_memory(const Matrix& stack, const std::string& name);

// The stack with rows and columns of every matrix exchanged, in memory that turned_memory gave.
Matrix turned(const Matrix& stack, const Memory& into, Pool& pool);

}  // namespace ktd

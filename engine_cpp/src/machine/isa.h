// Which instruction set the kernels use: detected once, here and nowhere else.
#pragma once

#include <span>
#include <string_view>

namespace ktd {

// Avx512: F, BW, VL, DQ and VNNI, with all of Avx2 (Cascade Lake). Avx512Vbmi: VBMI, BITALG and GFNI besides
// (Ice Lake, Zen 4 and later).
enum class Isa { Scalar, Avx2, Avx512, Avx512Vbmi };

const char* name(Isa isa);

// Every ISA this build has and this CPU (and kernel) can run, best first.
std::span<const Isa> available_isas();

// The ISA of this name, or the best there is for "". Throws EngineError naming what the CPU lacks.
Isa choose_isa(std::string_view wanted);

}  // namespace ktd

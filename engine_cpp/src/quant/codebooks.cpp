#include "quant/codebooks.h"

namespace ktd {

#include "quant/codebooks.inc"

}  // namespace ktd

// The machine's resources as one object, passed by reference: topology, kernels of the chosen ISA, thread
// pool.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/table.h"
#include "machine/isa.h"
#include "machine/pool.h"
#include "machine/topology.h"

namespace ktd {

class Machine {
 public:
  // threads 0: topology's default; isa "": the best there is. Throws EngineError on what the machine cannot
  // do.
  Machine(int threads, std::string_view isa);

  const Topology topology;
  const Kernels& kernels;
  Pool pool;
};

// Bytes per second that all threads of the pool read together from a fresh buffer in huge pages: the roof of
// decode.
double read_bandwidth(Machine& machine, size_t bytes);

// Multiplications per second of all threads, in registers: the roofs of prefill and of attention.
struct Peak {
  double floats;
  double bytes;  // of int8, as weights are multiplied; of floats where the ISA has nothing better
};
Peak multiplication_peak(Machine& machine);

}  // namespace ktd

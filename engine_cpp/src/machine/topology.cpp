#include "machine/topology.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace ktd {
namespace {

int read_int(const std::string& path, int otherwise) {
  std::ifstream file(path);
  int value = otherwise;
  return file >> value ? value : otherwise;
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  for (int size = 1024; cpus.empty() && size <= 1 << 20;
       size *= 2) {  // the kernel's mask may be wider than cpu_set_t
    cpu_set_t* set = CPU_ALLOC(size);
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0)
      for (int cpu = 0; cpu < size; ++cpu)
        if (CPU_ISSET_S(cpu, CPU_ALLOC_SIZE(size), set)) cpus.push_back(cpu);
    CPU_FREE(set);
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

int node_of(int cpu) {
  for (int node = 0; node < 64; ++node) {
    const std::string path =
        "/sys/devices/system/node/node" + std::to_string(node) + "/cpu" + std::to_string(cpu) + "/online";
    if (std::ifstream(path).good()) return node;
  }
  return 0;
}

// cgroup v2: "max 100000" or "150000 100000".
double read_quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::stod(quota) / period;
}

}  // namespace

Topology read_topology() {
  Topology topology{{}, read_quota()};
  std::set<std::pair<int, int>> seen;
  for (int cpu : allowed_cpus()) {
    const std::string base = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const int package = read_int(base + "physical_package_id", 0);
    const int core = read_int(base + "core_id", cpu);
    if (seen.emplace(package, core).second) topology.cores.push_back({cpu, package, node_of(cpu)});
  }
  return topology;
}

int Topology::default_threads() const {
  const int physical = static_cast<int>(cores.size());
  return cpu_quota > 0 ? std::clamp(static_cast<int>(cpu_quota), 1, physical) : physical;
}

}  // namespace ktd

// A GPU of fibers: the threads of a cluster take turns on one thread of the CPU, in an order drawn at random, and lose their turn only where
// they wait for others or reach an mbarrier. What hardware may do early or late (copies, products) is done as early or as late as it may be.
//
// It finds wrong indices, races between what barriers leave unordered, deadlocks, accesses outside of memory, accesses before the kernel
// before is over, and copies to where loads may still be under way. Else it does not know the order of memory operations (fences,
// proxies), registers, or time.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <functional>
#include <random>
#include <vector>

namespace emu {

struct Dim {
    unsigned x, y, z;
};

// Where threads meet: so many have come, the so many-th time.
struct Gate {
    unsigned key, arrived, generation;
    void* arguments[32];
};

struct Copy {
    void* to;
    const void* from;
    int bytes, size;  // zeros past size
};

struct Load {
    const unsigned char* at;
    unsigned bytes;
    long time;
};

// Registers that products read.
struct Fragment {
    const void* at;
    long written;
};

// A warp's part of a warpgroup's product: its lanes' registers, the descriptor of B.
struct Product {
    int tokens;
    int* d[32];
    const unsigned* a[32];
    unsigned b;
    bool accumulate;
};

struct Warp {
    std::vector<Gate> gates;  // of its masks
    std::vector<Product> open;
    std::vector<std::vector<Product>> groups;  // committed
    long frozen;    // rounds to stand still
    unsigned held;  // lanes that stand still until nobody else can go on
};

struct Block {
    Dim index;
    unsigned rank, alive, threads;
    unsigned char* shared;  // ends before a page that faults
    Warp warps[32];
    Gate barriers[16], everyone;
};

constexpr unsigned kMostBlocks = 8, kMostThreads = 1024;

struct Cluster {
    unsigned size, arrived, generation, alive;
    Block blocks[kMostBlocks];
};

// What a fiber waits for: a generation to pass, or a phase of an mbarrier.
struct Wait {
    const char* what;
    const volatile unsigned* generation;
    unsigned old;
    unsigned mbarrier, parity;
    const volatile uint64_t* phase;  // of the mbarrier: its lowest bit
};

struct Fiber {
    void* stack_pointer;
    bool alive;
    unsigned id;
    Wait wait;
    unsigned cluster_generation;
    bool cluster_arrived;
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;  // committed
    std::vector<Load> loads;                // that may be under way
    std::vector<Fragment> fragments;
    long time;                              // of loads and writes of fragments
};

extern Fiber* current;
extern Block* block;  // of the current fiber, as those that follow
extern unsigned char* dynamic_shared;
extern Dim thread_index, block_index, block_size, grid_size;
extern Cluster cluster;
extern unsigned dynamic_shared_bytes, shared_base;  // shared addresses begin somewhere; above 1 << 24 they are of block (address >> 24) - 1 of the cluster
extern std::mt19937 random_bits;

enum class When { kEarly, kLate, kRandom };
extern When when;  // what is asynchronous happens
extern bool has_tensor_map;  // whether the kernel takes one

[[noreturn]] void fail(const char* format, ...);

// schedule.cpp
void yield();
void yield_sometimes();  // so that others overtake
void wait_for_generation(const unsigned& generation, unsigned old, const char* what);
void run_grid(void (*kernel)(const void*, const void*), const void* parameter, const void* second, bool overlapped);
void grid_wait();
Fiber& fiber_of(unsigned rank, unsigned thread);

// memory.cpp
void check_range(const void* p, long bytes, const char* what);  // within one allocation, aligned
void before_begins(const void* parameter);                      // the kernel before: what it may write is unknown until it ends
void before_ends();
unsigned char* shared_at(unsigned address, unsigned bytes, const char* what);

// barriers.cpp
void barrier_all();
void barrier(unsigned id, unsigned count);
void cluster_arrive();
void cluster_wait();
void mbarrier_init(unsigned address, int count);
void mbarrier_arrive(unsigned address, unsigned expected_bytes);
void mbarrier_count(unsigned address);  // an arrival by the copy engine
void mbarrier_complete(unsigned address, unsigned bytes);
void mbarrier_wait(unsigned address, unsigned parity);
bool mbarrier_test(unsigned address, unsigned parity);
void describe_mbarrier(unsigned address);
unsigned absolute(unsigned address);  // of whichever block it is, for all of the cluster

// copies.cpp
void async_copy(unsigned to, const void* from, int bytes, int size);
void commit_copies();
void wait_for_copies(unsigned pending);
void arrive_when_copied(unsigned barrier);
void bulk_copy(unsigned to, const void* from, unsigned bytes, unsigned barrier);
void tensor_copy(unsigned to, const void* map, int x, int y, unsigned barrier);
void store_async(unsigned to, const void* value, unsigned bytes, unsigned barrier);
extern std::vector<std::function<void()>> pending;
void run_pending();

// loads.cpp
void load_begins(const unsigned char* at, unsigned bytes);
void pinned(const void* at);
void product_reads(unsigned lane, const unsigned* fragment);
void no_products_left();
void check_loads(const void* to, unsigned bytes, const char* what);  // none that may be under way reads there

// products.cpp
void product_issue(const Product& product);
void product_commit();
void product_wait(unsigned pending);

// Waits for every lane of mask; the last to come runs work over their arguments.
template <class Argument, class Work>
inline void meet(unsigned mask, Argument& argument, Work work) {
    auto& gates = block->warps[thread_index.x / 32].gates;
    Gate* gate = nullptr;
    for (auto& g : gates)
        if (g.key == mask) gate = &g;
    if (!gate) {
        gates.reserve(64);  // fibers wait at their addresses
        gates.push_back({mask});
        gate = &gates.back();
    }
    gate->arguments[thread_index.x % 32] = &argument;
    if (++gate->arrived < (unsigned)__builtin_popcount(mask)) return wait_for_generation(gate->generation, gate->generation, "its warp");
    gate->arrived = 0, gate->generation++;
    work(reinterpret_cast<Argument**>(gate->arguments));
}

template <class T>
inline T load_shared(unsigned address) {
    T v;
    const unsigned char* at = shared_at(address, sizeof v, "ld.shared");
    load_begins(at, sizeof v);
    memcpy(&v, at, sizeof v);
    return v;
}

template <class T>
inline void store_shared(unsigned address, T v) {
    memcpy(shared_at(address, sizeof v, "st.shared"), &v, sizeof v);
}

}  // namespace emu

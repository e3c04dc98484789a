// Fibers and whose turn it is.
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <algorithm>
#include "machine.h"

namespace emu {

constexpr long kStack = 256 << 10;
constexpr long kSharedPitch = 256 << 10;  // of a block; its last page faults
constexpr long kPage = 4096;

Fiber* current;
Block* block;
unsigned char* dynamic_shared;
Dim thread_index, block_index, block_size, grid_size;
Cluster cluster;
unsigned dynamic_shared_bytes, shared_base;
std::mt19937 random_bits;
When when;
bool has_tensor_map;

static void* scheduler;
static std::vector<Fiber> fibers(kMostBlocks * kMostThreads);
static void (*kernel)(const void*, const void*);
static const void *kernel_parameter, *kernel_second;
static bool before_done;
static unsigned before_generation;

extern "C" void emu_switch(void** save, void* load);
asm(R"(
.globl emu_switch
emu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

// Which launch is at fault.
static void describe_launch() {
    Dl_info symbol;
    bool known = dladdr((void*)kernel, &symbol) && symbol.dli_sname;
    auto* sizes = (const int*)((void* const*)kernel_parameter + 9);  // intscale.cuh: Params
    printf("emulator: %s, M=%d N=%d K=%d, %u x %u thread blocks in clusters of %u: ", known ? symbol.dli_sname : "?", sizes[0], sizes[1], sizes[2], grid_size.x, grid_size.y, cluster.size);
}

void fail(const char* format, ...) {
    describe_launch();
    printf("block %u, %u thread %u: ", block_index.x, block_index.y, thread_index.x);
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n"), fflush(stdout);
    _Exit(3);
}

void yield() { emu_switch(&current->stack_pointer, scheduler); }

void yield_sometimes() {
    if (random_bits() % 8 == 0) yield();
}

void wait_for_generation(const unsigned& generation, unsigned old, const char* what) {
    current->wait = {what, &generation, old};
    yield();
}

Fiber& fiber_of(unsigned rank, unsigned thread) { return fibers[rank * kMostThreads + thread]; }

void grid_wait() {
    if (!before_done) wait_for_generation(before_generation, before_generation, "the kernel before");
}

static void end_before() { before_ends(), before_done = true, before_generation++; }

static void fiber_main() {
    kernel(kernel_parameter, kernel_second);
    if (current->cluster_arrived) fail("exit between barrier.cluster.arrive and wait");
    if (!current->open.empty()) fail("exit before copies are complete");
    current->alive = false, block->alive--, cluster.alive--;
    // Barriers of all threads are of those that are left.
    Gate& g = block->everyone;
    if (g.arrived && g.arrived == block->alive) g.arrived = 0, g.generation++;
    if (cluster.arrived && cluster.arrived == cluster.alive) cluster.arrived = 0, cluster.generation++;
    yield();
}

static bool ready(const Fiber& f) {
    if (f.wait.generation) return *f.wait.generation != f.wait.old;
    return !f.wait.phase || (*f.wait.phase & 1) != f.wait.parity;
}

static void report_deadlock() {
    describe_launch();
    printf("deadlock\n");
    for (unsigned b = 0; b < cluster.size; b++)
        for (unsigned t = 0; t < block_size.x; t++) {
            auto alike = [&](const Fiber& f, const Fiber& g) {
                return f.alive == g.alive && f.wait.what == g.wait.what && f.wait.generation == g.wait.generation && f.wait.mbarrier == g.wait.mbarrier && f.wait.parity == g.wait.parity;
            };
            Fiber& f = fibers[b * kMostThreads + t];
            unsigned first = t;
            while (t + 1 < block_size.x && alike(f, fibers[b * kMostThreads + t + 1])) t++;
            if (!f.alive) continue;
            printf("  block %u threads %u to %u wait for %s", cluster.blocks[b].index.x, first, t, f.wait.what);
            if (f.wait.mbarrier) printf(", parity %u,", f.wait.parity), describe_mbarrier(f.wait.mbarrier);
            printf("\n");
        }
    fflush(stdout);
    _Exit(3);
}

static void run(Fiber& f, Block& b) {
    f.wait = {};
    current = &f, block = &b, thread_index = {f.id, 0, 0}, block_index = b.index, dynamic_shared = b.shared;
    emu_switch(&scheduler, f.stack_pointer);
}

// Some turns of a warp. Warps stand still while others go as far as they can, and so do lanes, where nothing holds the others.
static void take_turns(Block& b, unsigned warp_index, bool& ran, bool& stood) {
    auto& random = random_bits;
    Warp& warp = b.warps[warp_index];
    if (random() % 128 == 0) warp.held = random() % 2 ? random() : ~(1u << random() % 32);
    if (warp.frozen == 0 && random() % 256 == 0) warp.frozen = random() % 8 ? 1 + random() % 64 : 1000000;
    if (warp.frozen > 0) {
        warp.frozen--, stood = true;
        return;
    }
    for (unsigned turn = 1 + random() % 4; turn--;) {
        unsigned first = random() % 32, skip = random() % 4 ? 0 : random();
        for (unsigned i = 0; i < 32; i++) {
            unsigned lane = (first + i) % 32;
            Fiber& f = fibers[b.rank * kMostThreads + warp_index * 32 + lane];
            if (!f.alive || !ready(f)) continue;
            if ((skip | warp.held) >> lane & 1) stood = true;
            else ran = true, run(f, b);
        }
    }
}

static void prepare(Block& b, unsigned rank, unsigned char* memory_end) {
    unsigned bytes = (dynamic_shared_bytes + 15) / 16 * 16;
    b.rank = rank, b.alive = b.threads = block_size.x, b.shared = memory_end - kPage - bytes;
    memset(b.shared, 0xC7, bytes);
    for (auto& w : b.warps) w = {};
    memset(b.barriers, 0, sizeof b.barriers), b.everyone = {};
}

static void prepare(Fiber& f, unsigned id, unsigned char* stack_end) {
    f = {};
    f.alive = true, f.id = id;
    auto** sp = (void**)(stack_end - 64);
    *--sp = nullptr;  // aligned as after a call
    *--sp = (void*)fiber_main;
    f.stack_pointer = sp - 6;
}

static void run_cluster(bool overlapped) {
    static auto map = [](long bytes) { return (unsigned char*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); };
    static unsigned char *stacks = map(kMostBlocks * kMostThreads * kStack), *shared = map(kMostBlocks * kSharedPitch);
    before_done = !overlapped;
    if (overlapped) before_begins(kernel_parameter);
    cluster.arrived = cluster.generation = 0, cluster.alive = block_size.x * cluster.size;
    for (unsigned b = 0; b < cluster.size; b++) {
        unsigned char* end = shared + (b + 1) * kSharedPitch;
        mprotect(end - kPage, kPage, PROT_NONE);
        prepare(cluster.blocks[b], b, end);
        for (unsigned t = 0; t < block_size.x; t++) prepare(fibers[b * kMostThreads + t], t, stacks + (b * kMostThreads + t + 1) * kStack);
    }
    unsigned warps = block_size.x / 32;
    std::vector<unsigned> order(warps * cluster.size);
    for (unsigned w = 0; w < order.size(); w++) order[w] = w;
    while (cluster.alive) {
        std::shuffle(order.begin(), order.end(), random_bits);
        bool ran = false, stood = false;
        if (when == When::kRandom && !pending.empty() && random_bits() % 2) run_pending();
        for (unsigned w : order) take_turns(cluster.blocks[w / warps], w % warps, ran, stood);
        if (ran) continue;
        if (stood) {
            for (auto& b : cluster.blocks)
                for (auto& w : b.warps) w.frozen = 0, w.held = 0;
        } else if (!before_done && (pending.empty() || random_bits() % 2)) end_before();
        else if (!pending.empty()) run_pending();
        else if (cluster.alive) report_deadlock();
    }
    if (!before_done) end_before();
    if (!pending.empty()) fail("%zu copies under way at the kernel's end", pending.size());
}

// Plain loads and stores meet the pages that fault around memory.
static void report_fault(int, siginfo_t* info, void*) { fail("access outside of memory, at %p", info->si_addr); }

void run_grid(void (*function)(const void*, const void*), const void* parameter, const void* second, bool overlapped) {
    kernel = function, kernel_parameter = parameter, kernel_second = second, has_tensor_map = second != nullptr;
    struct sigaction report = {}, others;
    report.sa_sigaction = report_fault, report.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &report, &others);
    for (unsigned z = 0; z < grid_size.z; z++)
        for (unsigned y = 0; y < grid_size.y; y++)
            for (unsigned x = 0; x < grid_size.x; x += cluster.size) {
                for (unsigned b = 0; b < cluster.size; b++) cluster.blocks[b].index = {x + b, y, z};
                run_cluster(overlapped);
            }
    sigaction(SIGSEGV, &others, nullptr);
}

}  // namespace emu

#include "crew.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace edgecnn {

namespace {

// A sleeping thread is woken late, and often on the processor of who wakes it, so that both take turns there
// instead of working side by side. So whoever waits first looks on for as long as an image takes.
constexpr std::chrono::microseconds kWatch{1000};

template <typename Condition>
void watch(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kWatch;
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

}  // namespace

struct Crew::State {
    const pid_t process = getpid();
    std::mutex mutex;  // over all below
    std::condition_variable begun, ended;
    std::vector<std::thread> threads;
    Work work = nullptr;
    void* context = nullptr;
    int parts = 0, next = 0;
    std::atomic<int> done{0};
    std::atomic<uint64_t> images{0};  // written under the lock, watched without
    bool dismissed = false;

    // Takes parts as long as there are any; the lock is held before and after.
    void take_parts(std::unique_lock<std::mutex>& lock) {
        while (next < parts) {
            const int part = next++;
            lock.unlock();
            work(context, part);
            lock.lock();
            if (++done == parts) ended.notify_one();
        }
    }

    void wait_and_work() {
        std::unique_lock<std::mutex> lock(mutex);
        for (uint64_t seen = 0; !dismissed; seen = images) {
            take_parts(lock);
            lock.unlock();
            watch([&] { return images != seen; });
            lock.lock();
            begun.wait(lock, [&] { return dismissed || images != seen; });
        }
    }

    void hire(size_t wanted) {
        try {
            threads.reserve(wanted);
            while (threads.size() < wanted) threads.emplace_back(&State::wait_and_work, this);
        } catch (const std::system_error&) {
            // The others do its parts.
        }
    }
};

Crew::Crew() = default;

Crew::~Crew() {
    if (state_ == nullptr) return;
    if (state_->process != getpid()) {
        state_.release();  // of the parent of a fork; its threads don't exist here
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(state_->mutex);
        state_->dismissed = true;
    }
    state_->begun.notify_all();
    for (std::thread& thread : state_->threads) thread.join();
}

void Crew::run(int parts, Work work, void* context) {
    if (state_ != nullptr && state_->process != getpid()) state_.release();
    if (state_ == nullptr) state_ = std::make_unique<State>();
    State& s = *state_;
    if (s.threads.size() + 1 < static_cast<size_t>(parts)) s.hire(parts - 1);
    std::unique_lock<std::mutex> lock(s.mutex);
    s.work = work;
    s.context = context;
    s.parts = parts;
    s.next = 0;
    s.done = 0;
    ++s.images;
    s.begun.notify_all();
    s.take_parts(lock);
    lock.unlock();
    watch([&] { return s.done == s.parts; });
    lock.lock();
    s.ended.wait(lock, [&] { return s.done == s.parts; });
}

}  // namespace edgecnn

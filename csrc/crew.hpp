// Threads that wait from one image to the next, since starting one takes about as long as a small image.
#pragma once

#include <memory>

namespace edgecnn {

// Belongs to one calling thread, which works along. Starts a thread when a call first asks for it, and keeps
// it; its destructor ends them. After a fork the child has none of them, and starts its own.
class Crew {
  public:
    using Work = void (*)(void* context, int part);

    Crew();
    ~Crew();
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    // work(context, i) for each i below parts, on up to `parts` threads; returns when all are done. One that
    // can't be started is done without. work must not throw.
    void run(int parts, Work work, void* context);

    // The same for anything that can be called with a part.
    template <typename Callable>
    void run(int parts, const Callable& callable) {
        const auto call = [](void* context, int part) { (*static_cast<const Callable*>(context))(part); };
        run(parts, call, const_cast<Callable*>(&callable));
    }

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace edgecnn

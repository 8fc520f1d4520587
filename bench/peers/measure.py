"""What the peers share: shapes and numbers of tokens from the command line, outputs checked against f32 before any time,
a graph of launches over weights in turn timed right after 20 ms of the same work, and the JSON that
`lathe bench matmul --peer FILE` and `lathe bench report` read."""
import argparse, json, math, statistics, sys, torch

ROTATE_BYTES, BUSY_US, BUDGET_US, LEAST, MOST = 300e6, 20e3, 60e3, 5, 25


def tokens(text):
    out = set()
    for part in text.split(','):
        span, _, step = part.partition(':')
        first, _, last = span.partition('..')
        out.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return sorted(out)


def arguments(doc):
    p = argparse.ArgumentParser(description=doc)
    p.add_argument('shapes', nargs='+', metavar='KxN')
    p.add_argument('--m', type=tokens, default=tokens('1,8,16,32,64,128,256,512,4096'))
    a = p.parse_args()
    return [tuple(map(int, s.split('x'))) for s in a.shapes], a.m


def of_bound(x, w, y):
    """The largest error of the first and last rows over what rounding allows. w: n x k as it is multiplied."""
    rows = sorted({0, x.shape[0] // 2, x.shape[0] - 1})
    x, y = x[rows].double(), y[rows].double()
    exact = torch.empty_like(y)
    size = torch.empty_like(y)
    for i in range(0, w.shape[0], 8192):  # in pieces, for the memory of f64
        part = w[i:i + 8192].double()
        exact[:, i:i + 8192] = x @ part.t()
        size[:, i:i + 8192] = x.abs() @ part.abs().t()
    bound = (2 * 2**-11 + w.shape[1] * 2**-24) * size + 2**-11 * y.abs()
    return ((y - exact).abs() / bound).nan_to_num(nan=math.inf).max().item()


def microseconds(launch, launches):
    """Of one launch, for each replay of a graph of them. launch(i): the i-th."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(launches): launch(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(launches): launch(i)

    def replays(count):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        events[0].record()
        for e in events[1:]:
            graph.replay()
            e.record()
        torch.cuda.synchronize()
        return [a.elapsed_time(b) * 1e3 for a, b in zip(events, events[1:])]

    replays(1)
    once = max(1.0, replays(1)[0])
    busy = int(min(1000, max(1, BUSY_US / once)))
    count = int(min(MOST, max(LEAST, BUDGET_US / once)))
    return [us / launches for us in replays(busy + count)[busy:]]


def say(**line):
    print(json.dumps(line), flush=True)


def run(by, kind, shapes, ms, make):
    """make(k, n) -> bytes of one copy, copies, the weights as multiplied (n x k), multiply(i, x) -> y with the i-th copy."""
    say(command='python3 ' + ' '.join(sys.argv))
    say(device='cuda:0', name=torch.cuda.get_device_name(0), driver=f'CUDA {torch.version.cuda}, torch {torch.__version__}')
    for k, n in shapes:
        held, copies, dense, multiply = make(k, n)
        for m in ms:
            launches = 4 if m * n * k > 1e11 else max(24, copies)
            x = torch.rand(m, k, device='cuda', dtype=torch.float16) * 2 - 1
            about = dict(by=by, device='cuda:0', type=kind, k=k, n=n, m=m)
            error = of_bound(x, dense, multiply(0, x))
            if not error <= 1:
                say(**about, error=f'wrong: an output is {error:.3g} times as far off as rounding allows', wrong=True)
                continue
            us = sorted(microseconds(lambda i: multiply(i % copies, x), launches))
            q = statistics.quantiles(us, n=4, method='inclusive')
            say(**about, us=dict(min=us[0], q1=q[0], median=q[1], q3=q[2], max=us[-1]), launches=launches,
                replays=len(us), copies=copies, weight_bytes=held, of_bound=error,
                peak_bytes=torch.cuda.max_memory_allocated())


def copies_of(tensor):
    """The tensor as often as it takes to find none of it in the cache."""
    count = max(1, math.ceil(ROTATE_BYTES / (tensor.numel() * tensor.element_size())))
    return [tensor] + [tensor.clone() for _ in range(count - 1)]

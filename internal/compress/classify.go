package compress

const (
	windowSize   = 512      // bytes looked at in one place
	windowStride = 32 << 10 // one window in this many bytes
	minWindows   = 4
	maxWindows   = 32
	parityProbes = 4 // windows looked at for 16-bit samples

	// Limits for the sum of the squares of the counts of byte values in a
	// window. 512 random bytes give 1534 on average, with a deviation of 45; an
	// average far below that is a counter or a table and no noise. JPEG scans
	// average 1700 with single windows up to 2400; base64 gives 4600, pages of
	// a database from 4400 on, text over 10000.
	flattest = 1400
	densest  = 2050 // for the average of all windows
	notDense = 3100 // for any one window
)

// Classify says in a few microseconds what a frame looks like. It looks at
// bytes in a few places only. Dense is returned only when all of them look
// like noise, so that a page of text in a PDF, or one row of a database, is
// enough for compression to be tried.
func Classify(frame []byte) Class {
	if len(frame) < windowSize {
		return Plain
	}
	n := min(max(len(frame)/windowStride, minWindows), maxWindows)
	sum := 0
	for i := range n {
		s := spread(windowAt(frame, i, n))
		if s > notDense {
			// Two and a half times: text differs by 1.3 through chance alone.
			if looksSampled(frame, 5) {
				return Sampled
			}
			return Plain
		}
		sum += s
	}
	switch mean := sum / n; {
	case looksSampled(frame, 3): // loud audio is nearly noise
		return Sampled
	case mean < flattest || mean > densest:
		return Plain
	}
	return Dense
}

// windowAt returns the i-th of n windows, each in the middle of its share.
func windowAt(frame []byte, i, n int) []byte {
	share := len(frame) / n
	at := min(i*share+share/2, len(frame)-windowSize) &^ 1 // even, for paritySpreads
	return frame[at : at+windowSize]
}

// spread is the sum of the squares of the counts of byte values: the smaller,
// the more evenly the values are spread.
func spread(w []byte) int {
	var count [256]uint16
	sum := 0
	for _, b := range w {
		c := count[b]
		sum += 2*int(c) + 1 // (c+1)^2 - c^2
		count[b] = c + 1
	}
	return sum
}

// paritySpreads is spread for the even and for the odd bytes of w.
func paritySpreads(w []byte) (even, odd int) {
	var count [2][256]uint16
	for ; len(w) >= 2; w = w[2:] {
		c, d := count[0][w[0]], count[1][w[1]]
		even += 2*int(c) + 1
		odd += 2*int(d) + 1
		count[0][w[0]], count[1][w[1]] = c+1, d+1
	}
	return even, odd
}

// looksSampled says whether even and odd bytes differ in most of the places
// where anything varies: in 16-bit samples high bytes take few values, low
// bytes many. They differ when their spreads do so by halves/2 times.
func looksSampled(frame []byte, halves int) bool {
	const constant = (windowSize / 2) * (windowSize / 2) * 3 / 4
	differ, same := 0, 0
	for i := range parityProbes {
		even, odd := paritySpreads(windowAt(frame, i, parityProbes))
		switch lo, hi := min(even, odd), max(even, odd); {
		case 2*hi >= halves*lo:
			differ++
		case lo < constant:
			same++
		}
	}
	return differ > same
}

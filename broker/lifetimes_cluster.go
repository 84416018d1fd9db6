package broker

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// What makes deaths a cluster: at least clusterDeaths different grants, within
// clusterWindow, whose ages (or idle times) lie within a tolerance of one another
// and which died at clusterMoments different moments at least. A limit is one age
// at different times. A wave, or an app that was revoked, is many ages at one
// time, and where the grants were all consented at one time as well it is one
// age at one time: what dies within one tolerance is one moment, however many.
const (
	clusterDeaths  = 5
	clusterMoments = 3
	clusterWindow  = 90 * oneDay
	// clusterLeast is the shortest age that can be a limit: below, consents that
	// were tried and given up look alike.
	clusterLeast = 2 * oneDay
	// observedFor is how long a limit counts that was observed once. It must be
	// longer than the window: while families are kept alive because of it,
	// nothing dies of it.
	observedFor = 365 * oneDay
	oneDay      = 24 * time.Hour
)

// tolerance within which ages are the same.
func tolerance(age time.Duration) time.Duration { return max(oneDay, age/50) }

// cluster of deaths at one age: a limit of the provider, perhaps.
type cluster struct {
	limit family.Limit
	// length is the shortest of the ages, in whole days.
	length   time.Duration
	grants   int
	from, to time.Time
}

// detail is how the app's event says it. limitOf reads the first two words.
func (c cluster) detail() string {
	return fmt.Sprintf("%s %dd: %d grants ended at this age, from %s to %s", c.limit, c.length/oneDay, c.grants,
		c.from.UTC().Format(time.DateOnly), c.to.UTC().Format(time.DateOnly))
}

// limitOf returns the limit that a cluster's event is about; 0: none.
func limitOf(e storage.AppEvent) (family.Limit, time.Duration) {
	if e.Type != storage.AppDeathCluster {
		return "", 0 // nearly all: this is asked at every swap
	}
	var limit family.Limit
	var days int64
	if n, err := fmt.Sscanf(e.Detail, "%s %dd:", &limit, &days); n != 2 || err != nil || days < 1 {
		return "", 0
	}
	return limit, time.Duration(days) * oneDay
}

// findCluster looks for the shortest age at which families died of a limit. An
// age says nothing of the absolute limit where the family was idle for most of it.
func findCluster(deaths []storage.AppDeath, limit family.Limit, now time.Time) (cluster, bool) {
	age := func(d storage.AppDeath) time.Duration {
		if limit == family.LimitIdle {
			return d.Idle
		}
		return d.Age
	}
	var list []storage.AppDeath
	for _, d := range deaths {
		if age(d) >= clusterLeast && d.At.After(now.Add(-clusterWindow)) && (limit == family.LimitIdle || 2*d.Idle <= d.Age) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(x, y storage.AppDeath) int { return cmp.Compare(age(x), age(y)) })
	for i := range list {
		least := age(list[i])
		j := i
		for j < len(list) && age(list[j]) <= least+tolerance(least) {
			j++
		}
		if c, ok := clusterOf(list[i:j], tolerance(least)); ok {
			c.limit, c.length = limit, least.Truncate(oneDay)
			return c, true
		}
	}
	return cluster{}, false
}

// clusterOf judges deaths of one age.
func clusterOf(same []storage.AppDeath, apart time.Duration) (cluster, bool) {
	grants := map[string]bool{}
	var times []time.Time
	for _, d := range same {
		grants[d.GrantID] = true
		times = append(times, d.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	moments := 0
	var moment time.Time
	for _, t := range times {
		if moments == 0 || t.Sub(moment) > apart {
			moments, moment = moments+1, t
		}
	}
	if len(grants) < clusterDeaths || moments < clusterMoments {
		return cluster{}, false
	}
	return cluster{grants: len(grants), from: times[0], to: times[len(times)-1]}, true
}

// survivors of an app contradict a limit: what this process has seen outlive it.
type survivors struct {
	mu sync.Mutex // guards all below
	// idle is when a family last settled after so many whole days without an
	// exchange; age is the latest consent of a family that settled at that age.
	idle, age [400]time.Time
}

// settled notes what a settlement at now shows of a family.
func (s *survivors) settled(now, exchanged, consented time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keepLater(&s.idle, now.Sub(exchanged), now)
	keepLater(&s.age, now.Sub(consented), consented)
}

func keepLater(of *[400]time.Time, age time.Duration, t time.Time) {
	i := min(max(0, int(age/oneDay)), len(of)-1)
	if t.After(of[i]) {
		of[i] = t
	}
}

// contradict says whether a family outlived the limit, by more than its
// tolerance, and lately: what was consented long before the dead were may have
// had another limit.
func (s *survivors) contradict(limit family.Limit, length time.Duration, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of, since := &s.idle, at.Add(-clusterWindow)
	if limit == family.LimitAbsolute {
		of, since = &s.age, since.Add(-length)
	}
	from := int((length+tolerance(length))/oneDay) + 1
	return slices.ContainsFunc(of[min(from, len(of)):], func(t time.Time) bool { return t.After(since) })
}

// limits that were observed; 0: none was.
type limits struct{ idle, absolute time.Duration }

// observed returns the limits that the app's record tells of and that nothing
// contradicts.
func (a *app) observed(now time.Time) limits {
	a.mu.Lock()
	events := a.tally.record.Events // never changed in place
	a.mu.Unlock()
	var seen limits
	for _, e := range events {
		limit, length := limitOf(e)
		if length == 0 || now.Sub(e.At) > observedFor || a.survivors.contradict(limit, length, e.At) {
			continue
		}
		if limit == family.LimitIdle { // the newest counts
			seen.idle = length
		} else {
			seen.absolute = length
		}
	}
	return seen
}

// died has a death recorded soon, and the cluster that it completes.
func (a *app) died(d storage.AppDeath) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note(func(rec *storage.App) {
		known := func(o storage.AppDeath) bool { return o.GrantID == d.GrantID && o.At.Equal(d.At) }
		if !slices.ContainsFunc(rec.Deaths, known) {
			rec.Deaths = append(rec.Deaths, d)
		}
		for _, limit := range []family.Limit{family.LimitIdle, family.LimitAbsolute} {
			c, ok := findCluster(rec.Deaths, limit, d.At)
			if ok && !a.survivors.contradict(limit, c.length, d.At) && !told(rec.Events, c, d.At) {
				rec.Events = append(rec.Events, storage.AppEvent{Type: storage.AppDeathCluster, At: d.At, Detail: c.detail()})
			}
		}
	})
}

// told reports whether the cluster is in the events already, and lately.
func told(events []storage.AppEvent, c cluster, now time.Time) bool {
	return slices.ContainsFunc(events, func(e storage.AppEvent) bool {
		limit, length := limitOf(e)
		return limit == c.limit && (length-c.length).Abs() <= tolerance(c.length) && now.Sub(e.At) < clusterWindow
	})
}

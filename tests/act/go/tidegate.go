// Compiled into act's package runner by tests/act/build.py: see there for what it mends and why.

package runner

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/nektos/act/pkg/common"
	"github.com/nektos/act/pkg/exprparser"
	"github.com/nektos/act/pkg/model"
)

var concluding sync.Mutex

// conclude ends a workflow: the outermost one reports its failure, a called one makes the calling job fail.
func (runner *runnerImpl) conclude(plan *model.Plan) common.Executor {
	return func(ctx context.Context) error {
		failure := handleFailure(plan)(ctx)
		if runner.caller == nil {
			return failure
		}
		concluding.Lock()
		defer concluding.Unlock()
		caller := runner.caller.runContext
		result := "success"
		if failure != nil {
			result = "failure"
		}
		if caller.Run.Job().Result != "failure" { // of another leg of the matrix
			caller.result(result)
		}
		common.Logger(ctx).WithField("jobResult", result).Info("called workflow ended")
		return nil
	}
}

// wanted tells whether a job's condition lets it run: its matrix is looked at only then.
func (rc *RunContext) wanted(ctx context.Context) bool {
	enabled, err := EvalBool(ctx, rc.ExprEval, rc.Run.Job().If.Value, exprparser.DefaultStatusCheckSuccess)
	return err != nil || enabled // what is wrong with a condition is told when the job is run
}

// withoutLegs stands for a job whose matrix is empty: skipped by its condition, or wrong.
func (runner *runnerImpl) withoutLegs(run *model.Run) common.Executor {
	return func(ctx context.Context) error {
		rc := runner.newRunContext(ctx, run, nil)
		ctx = WithJobLogger(ctx, run.JobID, rc.trail(), rc.Config, &rc.Masks, nil)
		enabled, err := rc.isEnabled(ctx)
		if err == nil && enabled {
			err = fmt.Errorf("job %s: the matrix has no values", run.JobID)
		}
		return err
	}
}

// trail is the way to a job through the workflows that call it: deliver/model[fraud]/train.
func (rc *RunContext) trail() string {
	name := rc.Run.JobID
	if len(rc.Matrix) > 0 {
		values := make([]string, 0, len(rc.Matrix))
		for _, value := range rc.Matrix {
			values = append(values, fmt.Sprint(value))
		}
		sort.Strings(values)
		name += "[" + strings.Join(values, ",") + "]"
	}
	if rc.caller != nil {
		return rc.caller.runContext.trail() + "/" + name
	}
	return name
}

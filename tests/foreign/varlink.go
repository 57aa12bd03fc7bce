// SPDX-License-Identifier: Apache-2.0

// The status socket through a Varlink library that is not ours. tests/foreign/run builds and starts it inside the rig.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/varlink/go/varlink"
)

const address = "unix:/run/latchkey/io.latchkey.Agent"

func check(good bool, text string) {
	if !good {
		fmt.Println("FAIL", text)
		os.Exit(1)
	}
	fmt.Println("ok  ", text)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := varlink.NewConnection(ctx, address)
	check(err == nil, fmt.Sprint("connects ", err))

	var vendor, product, version, url string
	var interfaces []string
	err = connection.GetInfo(ctx, &vendor, &product, &version, &url, &interfaces)
	check(err == nil && len(interfaces) == 2, fmt.Sprint("GetInfo: ", vendor, product, version, interfaces, err))
	for _, name := range interfaces {
		description, err := connection.GetInterfaceDescription(ctx, name)
		check(err == nil && strings.Contains(description, "interface "+name), fmt.Sprint("GetInterfaceDescription: ", name))
	}
	_, err = connection.GetInterfaceDescription(ctx, "no.such.thing")
	check(err != nil, fmt.Sprint("of another interface: ", err))

	for _, method := range []string{"GetStatus", "ListCommands", "ListUsers", "ListKeys", "GetMetrics"} {
		var out map[string]json.RawMessage
		err := connection.Call(ctx, "io.latchkey.Agent."+method, map[string]interface{}{}, &out)
		check(err == nil && len(out) > 0, fmt.Sprint(method, ": ", len(out), " members ", err))
	}
	var out map[string]json.RawMessage
	err = connection.Call(ctx, "io.latchkey.Agent.GetCommand", map[string]interface{}{"id": "none"}, &out)
	named, is := err.(*varlink.Error)
	check(is && named.Name == "io.latchkey.Agent.NoSuchCommand", fmt.Sprint("GetCommand of none: ", err))
	err = connection.Call(ctx, "io.latchkey.Agent.Explode", nil, &out)
	_, is = err.(*varlink.MethodNotFound)
	check(is, fmt.Sprint("a method that is not there: ", err))
	err = connection.Call(ctx, "io.latchkey.Agent.GetCommand", map[string]interface{}{}, &out)
	_, is = err.(*varlink.InvalidParameter)
	check(is, fmt.Sprint("a parameter that is missing: ", err))

	receive, err := connection.Send(ctx, "io.latchkey.Agent.Monitor", nil, varlink.More)
	check(err == nil, "Monitor, with more")
	fmt.Println("monitoring")
	for i := 0; i < 2; i++ {
		var reply struct{ Command struct{ Id, Code string } }
		flags, err := receive(ctx, &reply)
		check(err == nil && reply.Command.Code == "ok" && flags&varlink.Continues != 0, fmt.Sprint("it tells of ", reply.Command.Id))
	}
	check(connection.Close() == nil, "closes")
}

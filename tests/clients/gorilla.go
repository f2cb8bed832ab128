// gorilla/websocket, of Go.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

type seen struct {
	Protocol string   `json:"protocol"`
	Code     int      `json:"code"`
	Reason   string   `json:"reason"`
	Status   int      `json:"status"`
	Messages []string `json:"messages"`
}

func play(socket *websocket.Conn, steps [][2]string, result *seen) {
	// Reads one message, or notes how the connection ended.
	receive := func() bool {
		_, bytes, err := socket.ReadMessage()
		if err != nil {
			if closed, ok := err.(*websocket.CloseError); ok {
				result.Code, result.Reason = closed.Code, closed.Text
			}
			return false
		}
		result.Messages = append(result.Messages, string(bytes))
		return true
	}
	has := func(part string) bool {
		for _, message := range result.Messages {
			if strings.Contains(message, part) {
				return true
			}
		}
		return false
	}
	for _, step := range steps {
		switch verb, text := step[0], step[1]; verb {
		case "send":
			if socket.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
				return
			}
		case "await":
			for !has(text) {
				if !receive() {
					return
				}
			}
		case "close":
			parts := strings.SplitN(text, " ", 2)
			code, err := strconv.Atoi(parts[0])
			if err != nil {
				code = websocket.CloseNoStatusReceived // an empty frame
			}
			frame := websocket.FormatCloseMessage(code, strings.TrimPrefix(text, parts[0]+" "))
			if code == websocket.CloseNoStatusReceived {
				frame = nil
			}
			_ = socket.WriteControl(websocket.CloseMessage, frame, time.Now().Add(5*time.Second))
			for receive() {
			}
		case "closed":
			for receive() {
			}
		}
	}
}

func main() {
	script, _ := io.ReadAll(bufio.NewReader(os.Stdin))
	var steps [][2]string
	dialer := websocket.Dialer{EnableCompression: true}
	header := http.Header{}
	for _, line := range strings.Split(string(script), "\n") {
		if line == "" {
			continue
		}
		parts := append(strings.SplitN(line, " ", 2), "")
		switch parts[0] {
		case "offer":
			dialer.Subprotocols = strings.Split(parts[1], ",")
		case "bearer":
			header.Set("Authorization", "Bearer "+parts[1])
		}
		steps = append(steps, [2]string{parts[0], parts[1]})
	}
	result := seen{Messages: []string{}}
	socket, response, err := dialer.Dial(os.Args[1], header)
	if err != nil {
		if response != nil {
			result.Status = response.StatusCode
		}
	} else {
		result.Protocol = socket.Subprotocol()
		play(socket, steps, &result)
		socket.Close()
	}
	line, _ := json.Marshal(result)
	fmt.Println(string(line))
}

"""The trainer beside a SuperNode, and the client's one door to what Flower does not promise to keep.

What it uses of Flower's private parts, and what for; `tests/test_flower_parts.py` checks each on the Flower installed.

    flwr.supercore.runtime.RuntimeHttpClient                         what speaks to the SuperNode on this machine
    flwr.supercore.protobuf.client.ProtobufClientInterceptor         the type of what adds headers to its requests
    flwr.supercore.interceptors.RuntimeVersionHttpInterceptor        says which Flower asks
    flwr.supercore.interceptors.SuperExecAuthHttpInterceptor         shows the secret when a task is asked for
    flwr.supercore.interceptors.RuntimeTokenHttpInterceptor          shows the task's token with all that follows
    flwr.supercore.retry.make_simple_http_retry_invoker              tries again while the SuperNode is starting
    flwr.supercore.heartbeat.HeartbeatSender                         tells the SuperNode that the task is being answered
    flwr.supercore.heartbeat.make_task_heartbeat_fn_http             interrupts this process when the task is no more
    flwr.supercore.constant.TaskType                                 which tasks are asked for: a ClientApp's
    flwr.proto.runtime_pb2.AcquireTaskRequest                        how one is asked for
    flwr.supernode.runtime.run_clientapp.pull_task_input             the message and the node's context
    flwr.supernode.runtime.run_clientapp.push_message                the reply
    flwr.supernode.runtime.run_clientapp.push_task_output            the context and how the task ended
    flwr.common.constant.SubStatus                                   the words for how it ended
    flwr.common.constant.ErrorCode                                   the numbers of an error reply
    flwr.app.message.remove_content_from_message                     the head of a message, which is kept on disk
    flwr.common.serde.message_to_proto                               writes it
    flwr.common.serde.message_from_proto                             reads it again
    flwr.proto.message_pb2.Message                                   the same
"""

// SPDX-License-Identifier: Apache-2.0
//
// What comes out is what went in: no beat is lost, made up, changed or overtaken.
//
// The solver chooses a beat by raising `mark` as it enters. From then on the beats ahead of it are
// counted down, and when none is left the output must show that beat. As any beat may be chosen,
// this holds for all of them.

`default_nettype none

module axis_order #(
    parameter WIDTH    = 8,
    parameter CAPACITY = 2,  // beats that the module must take before any is given out
    parameter LATENCY  = 1   // clocks after which a beat must be offered where none is ahead
) (
    input wire             clk,
    input wire             rst,
    input wire             mark,
    input wire [WIDTH-1:0] s_payload,
    input wire             s_tvalid,
    input wire             s_tready,
    input wire [WIDTH-1:0] m_payload,
    input wire             m_tvalid,
    input wire             m_tready
);

    localparam COUNT_WIDTH = $clog2(CAPACITY + 2);

    reg [COUNT_WIDTH-1:0] inside = 0;  // beats in the module
    reg [COUNT_WIDTH-1:0] ahead = 0;   // those that leave before the chosen one
    reg                   chosen = 1'b0;
    reg [WIDTH-1:0]       expected = 0;
    reg [$clog2(LATENCY + 1)-1:0] waits = 0;

    wire enters = s_tvalid && s_tready;
    wire leaves = m_tvalid && m_tready;
    wire due    = inside != 0 && !m_tvalid;

    always @(posedge clk) begin
        inside <= inside + enters - leaves;
        if (chosen && leaves) begin
            ahead  <= ahead - 1'b1;
            chosen <= ahead != 0;
        end
        if (!chosen && mark && enters) begin
            chosen   <= 1'b1;
            ahead    <= inside - leaves;
            expected <= s_payload;
        end
        waits <= due ? waits + 1'b1 : 0;
        if (rst) begin
            waits  <= 0;
            inside <= 0;
            chosen <= 1'b0;
        end
    end

    always @* begin
        // Whatever is inside is offered in time, and nothing else is.
        assert (!due || waits < LATENCY - 1);
        assert (!m_tvalid || inside != 0);
        // There is room for CAPACITY beats, and never for more; what has just been taken out may
        // make room.
        assert (s_tready == (inside != CAPACITY || (LATENCY > 1 && m_tready)));
        assert (inside <= CAPACITY);
        if (chosen && ahead == 0 && m_tvalid)
            assert (m_payload == expected);
    end

endmodule

`default_nettype wire

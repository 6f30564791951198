// SPDX-License-Identifier: Apache-2.0
//
// Register slice of a stream: cuts both the forward and the ready path, so that long chains of
// stages meet timing, and still passes a beat every clock.
//
// Latency: 1 clock.

`default_nettype none

module skid_buffer #(
    parameter WIDTH = 8  // bits of tdata
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tlast,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tlast,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);

    reg [WIDTH:0] out_reg, skid_reg;
    reg           out_valid_reg = 1'b0, skid_valid_reg = 1'b0;

    assign s_axis_tready = !skid_valid_reg;
    assign m_axis_tvalid = out_valid_reg;
    assign {m_axis_tlast, m_axis_tdata} = out_reg;

    // A beat goes to the output where that is free, else into the skid register: it was promised a
    // place before the stall was known.
    always @(posedge clk) begin
        if (!out_valid_reg || m_axis_tready) begin
            out_valid_reg  <= skid_valid_reg || s_axis_tvalid;
            skid_valid_reg <= 1'b0;
            out_reg        <= skid_valid_reg ? skid_reg : {s_axis_tlast, s_axis_tdata};
        end else if (s_axis_tvalid && s_axis_tready) begin
            skid_valid_reg <= 1'b1;
            skid_reg       <= {s_axis_tlast, s_axis_tdata};
        end
        if (rst) begin
            out_valid_reg  <= 1'b0;
            skid_valid_reg <= 1'b0;
        end
    end

endmodule

`default_nettype wire
